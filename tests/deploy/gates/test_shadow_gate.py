"""A candidate beside the serving release: real devices, a real app, frames of a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit import fleet
from toolkit.artifacts.fleet import PASSED, REFUSED, UNDECIDED, Device, ShadowRun
from toolkit.cli.main import main
from toolkit.deploy import REQUIRED_GATES, deploy, plan_rollout
from toolkit.deploy.gates.shadow_gate import (
    Evidence,
    LabeledCapture,
    ShadowGate,
    ShadowOptions,
    class_shift,
    disagreements,
    read_token,
)
from toolkit.device.layout import CURRENT
from toolkit.device.sequential import PASS
from toolkit.errors import FleetError
from toolkit.fleet import device_command
from toolkit.fleet.ssh.shell import LocalShell
from toolkit.store import Store
from toolkit.workspace import Workspace

QUICK = ShadowOptions(seconds=600, agreement=0.5, every=1, baseline_frames=3, lowest_priority=False)
ServeDevice = Callable[..., AbstractContextManager[Device]]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images that differ from each other, half of them dark."""
    folder = tmp_path_factory.mktemp("frames")
    source = np.random.default_rng(3)
    for number in range(40):
        level = (20, 230)[number % 2]
        image = np.clip(source.normal(level, 40, (8, 8, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:03}.png"), cv2.resize(image, (64, 64), interpolation=cv2.INTER_NEAREST))
    return folder


@pytest.fixture
def app(serving: Callable[..., tuple[Device, ...]], devices: tuple[Device, ...], frames: Path) -> ServeDevice:
    """app(source=frames): a device that serves `bundle`, its app running, for the length of a with-block."""

    @contextmanager
    def run(source: object = frames, device: Device | None = None) -> Iterator[Device]:
        (one,) = serving(device or devices[0])
        folder = f"{one.root}/{CURRENT}"
        command = device_command.in_runtime(
            one, folder, "serve", folder, "--port", "0", "--stop-on-eof", "--source", str(source), "--fps", "100"
        )
        with fleet.connect(one) as shell, shell.background(command) as output:
            yield replace(one, variables={**one.variables, "toolkit_app_port": json.loads(output)["port"]})

    return run


def _gates(options: ShadowOptions, runs: list[ShadowRun]) -> tuple[object, ...]:
    return (*REQUIRED_GATES, ShadowGate(options, runs.append))


def _serves(device: Device) -> str:
    return str(json.loads((Path(device.root) / CURRENT / "release.json").read_text())["bundle"])


def _audit(device: Device) -> list[dict[str, str]]:
    return [json.loads(line) for line in (Path(device.root) / "audit.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_candidate_that_agrees_is_switched_to(
    app: ServeDevice,
    serving: Callable[..., tuple[Device, ...]],
    devices: tuple[Device, ...],
    make_bundle: Callable[..., Path],
) -> None:
    runs: list[ShadowRun] = []
    candidate = make_bundle("candidate", bias=0.01)
    (second,) = serving(devices[1])
    with app() as device:
        result = deploy(candidate, (device, second), gates=_gates(QUICK, runs))
    (run,) = runs
    assert not result.failed, result.failed
    assert (run.device, run.decision, run.agreed) == (device.name, PASSED, run.counted)
    assert run.counted >= 30
    assert run.parent == candidate.name == _serves(device) == _serves(second)
    assert run.serving_name == "tiny"
    assert all(value and value > 0 for value in (*run.fps, *run.latency_ms, *run.confidence))
    assert "images/s" in result.ok[device].gates["shadow"]
    assert "shadow" not in result.ok[second].gates, "only the first batch is compared"
    assert [line["outcome"] for line in _audit(device)[-2:]] == ["deployed", "shadow-passed"]


@pytest.mark.slow
def test_candidate_that_disagrees_is_refused(
    app: ServeDevice,
    bundle: Path,
    make_bundle: Callable[..., Path],
    write_inventory: Callable[..., Path],
    workspace: Workspace,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toolkit.cli.deploy.parse_shadow", lambda *_, **__: replace(QUICK, agreement=0.95))
    candidate = make_bundle("contrary", bias=-8.0)
    with app() as device:
        inventory = write_inventory((device,), toolkit_app_port=device.variables["toolkit_app_port"])
        where = ["--fleet", "--inventory", str(inventory), "--workspace", str(workspace.root)]
        with pytest.raises(SystemExit) as caught:
            main(["deploy", str(candidate), *where, "--shadow", "10m", "--json"])
    out, err = capfd.readouterr()
    (run,) = json.loads(out)["shadow"]
    assert caught.value.code == 1
    assert (run["decision"], list(run["disagreements"])) == (REFUSED, ["light → dark"])
    assert run["counted"] >= 30
    assert run["class_shift"] == pytest.approx(0.5, abs=0.2)
    assert "agreement is not above 95%" in err
    assert _serves(device) == bundle.name
    assert [line["outcome"] for line in _audit(device)[-2:]] == ["failed", "shadow-refused"]
    with Store(workspace.database) as store:
        assert [run.parent for run in store.all(ShadowRun)] == [candidate.name]


def captures(folder: Path, dark: str, light: str) -> tuple[LabeledCapture, ...]:
    """Forty captured frames, half of them blue, which the model calls dark, with a person's label for both."""
    made = []
    for number in range(40):
        path = folder / f"{number}.jpg"
        cv2.imwrite(str(path), np.full((16, 16, 3), ((230, 0, 0), (230, 230, 230))[number % 2], np.uint8))
        made.append(LabeledCapture(digest=path.stem, image=path, truth=(dark, light)[number % 2], serving="dark"))
    return tuple(made)


@pytest.mark.slow
@pytest.mark.parametrize(("names", "decision"), [(("dark", "light"), PASSED), (("light", "dark"), REFUSED)])
def test_labels_that_come_in_decide_on_accuracy(
    names: tuple[str, str],
    decision: str,
    app: ServeDevice,
    bundle: Path,
    make_bundle: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Agreement is shown, not judged; no label is there when the comparison begins."""
    runs: list[ShadowRun] = []
    asked: list[tuple[str, str]] = []
    labeled = captures(tmp_path, *names)

    def find_labeled(candidate: str, release: str) -> tuple[LabeledCapture, ...]:
        asked.append((candidate, release))
        return labeled[: 20 * (len(asked) - 1)]

    candidate = make_bundle(f"judged-{decision}", bias=0.03)
    gate = ShadowGate(replace(QUICK, agreement=None, accuracy=0.5), runs.append, find_labeled=find_labeled)
    with app() as device:
        serving_release = (Path(device.root) / CURRENT).resolve().name
        result = deploy(candidate, (device,), gates=(*REQUIRED_GATES, gate))
    (run,) = runs
    assert (run.decision, run.gate, run.accuracy_gate, run.labeled) == (decision, None, 0.5, 30)
    assert run.right == ((15, 30) if decision == PASSED else (15, 0))
    assert {*asked} == {(candidate.name, serving_release)}
    assert len(asked) == 3, "it waits for labels"
    assert bool(result.failed) == (decision == REFUSED)
    assert "labeled captures are classified correctly, 15 by the serving release" in run.reason


def test_a_decision_stands_whatever_is_seen_later() -> None:
    evidence = Evidence(ShadowOptions(seconds=1, agreement=0.5, accuracy=0.5).tests())
    answer = {"label": "a", "unknown": False}
    evidence.frames += [{"serving": answer, "candidate": answer, "changed": True}] * 30
    assert evidence.decide() == "", "accuracy is open"
    evidence.frames += [{"serving": answer, "candidate": {**answer, "label": "b"}, "changed": True}] * 300
    evidence.labeled = {str(number): (False, True) for number in range(30)}
    assert evidence.decide() == PASS
    assert evidence.decided == {"agreement": PASS, "accuracy": PASS}


@pytest.mark.slow
def test_time_that_is_too_short_decides_nothing(
    app: ServeDevice, bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((16, 16, 3), 200 + number, np.uint8))
    runs: list[ShadowRun] = []
    short = replace(QUICK, seconds=1e-6)
    candidate = make_bundle("undecided", bias=0.02)
    with app(tmp_path) as device:
        problem = deploy(candidate, (device,), gates=_gates(short, runs)).failed[device]
        assert _serves(device) == bundle.name
        allowed = deploy(candidate, (device,), gates=_gates(replace(short, allow_undecided=True), runs))
    assert "too short to decide" in problem.what
    assert "--shadow-allow-undecided" in problem.remedy
    assert not allowed.failed
    assert [run.decision for run in runs] == [UNDECIDED, UNDECIDED]
    assert (runs[0].frames, runs[0].counted) == (10, 1), "a scene that stands still counts once"


@pytest.mark.slow
def test_device_without_an_app_is_refused_by_name(
    serving: Callable[..., tuple[Device, ...]], devices: tuple[Device, ...], bundle: Path, other_bundle: Path
) -> None:
    (device,) = serving(replace(devices[0], variables={"toolkit_app_port": 1}))
    problem = deploy(other_bundle, (device,), gates=_gates(QUICK, [])).failed[device]
    assert "no app answers at http://127.0.0.1:1" in problem.what
    assert "start the app" in problem.remedy
    assert _serves(device) == bundle.name


def test_plan_names_the_comparison(devices: tuple[Device, ...], bundle: Path) -> None:
    (plan,) = plan_rollout(bundle, devices[:1], gates=_gates(QUICK, [])).ok.values()
    assert [step.name for step in plan.steps] == ["send", "verify", "golden", "shadow", "switch"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shadow", "soon"], "'soon' is not a duration"),
        (["--shadow", "1m", "--shadow-gate", "agreement=95"], "'agreement=95' is not a gate"),
        (
            ["--shadow", "1m", "--shadow-gate", "accuracy=0.8", "--shadow-gate", "speed=0.5"],
            "'speed=0.5' is not a gate",
        ),
        (["--shadow", "1m", "--offline", "release.tar"], "neither compared on live frames nor watched"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    options: list[str], message: str, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["deploy", str(bundle), "--fleet", *options])
    assert caught.value.code == 2
    assert message in capfd.readouterr().err


def test_token_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-of-the-app\n")
    device = Device(name="local", host="localhost", root=str(tmp_path), variables={"runner_token_file": "token"})
    assert read_token(device, LocalShell(device)) == "secret-of-the-app"
    assert read_token(replace(device, variables={}), LocalShell(device)) is None
    missing = replace(device, variables={"toolkit_app_token_file": "nowhere"})
    with pytest.raises(FleetError, match="reading the app's token failed") as caught:
        read_token(missing, LocalShell(missing))
    assert "add it to the file's group" in caught.value.problems[0].remedy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shadow", "10m"], "a release that is not signed has no statement"),
        (["--shadow", "31m"], "31m is longer than a pull may take"),
        (["--shadow", "10m", "--shadow-gate", "accuracy=0.8"], "devices that pull releases judge agreement only"),
    ],
)
def test_publish_refuses_comparisons_that_cannot_be(
    options: list[str], message: str, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["publish", str(bundle), "127.0.0.1:1/edge:stable", *options])
    assert caught.value.code == 2
    assert message in capfd.readouterr().err


def test_class_shift_is_the_share_of_frames_that_moved() -> None:
    assert class_shift(["a", "a", "b", "b"], ["a", "b", "b", "b"]) == 0.25
    assert class_shift([], []) == 0


def test_disagreements_are_counted_by_pair() -> None:
    def frame(first: str, second: str, *, unknown: bool = False) -> dict[str, object]:
        return {"serving": {"label": first, "unknown": False}, "candidate": {"label": second, "unknown": unknown}}

    actual = disagreements([frame("a", "b"), frame("a", "b"), frame("a", "a"), frame("a", "a", unknown=True)])
    assert actual == {"a → b": 2, "a → unknown": 1}
