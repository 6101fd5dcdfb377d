"""Deploy, rollback and status on devices behind real SSH servers, the golden check by the real device code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from toolkit import fleet
from toolkit.artifacts.fleet import Deployment, Device
from toolkit.deploy import (
    REQUIRED_GATES,
    Gate,
    HealthGate,
    Strategy,
    deploy,
    gates_from_config,
    plan_rollout,
    rollback,
    shadow_from_config,
    status,
    strategy_from_config,
)
from toolkit.deploy.gates.gate import GateContext
from toolkit.deploy.lock import device_lock
from toolkit.deploy.strategy import BatchSize
from toolkit.device.activation.audit import append_audit
from toolkit.errors import BundleError, ConfigurationError, ExitCode, UsageError
from toolkit.experiment.schema import DeployConfig
from toolkit.fleet import connect
from toolkit.store import Store
from toolkit.workspace import Workspace

Devices = tuple[Device, ...]


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with Store(workspace.database) as store:
        yield store


@pytest.mark.slow
def test_deploy_serves_the_bundle_once(devices: Devices, bundle: Path, store: Store) -> None:
    first = deploy(bundle, devices, store=store)
    assert not first.failed
    assert [(actual.outcome, actual.parent) for actual in first.ok.values()] == [("deployed", bundle.name)] * 3
    before = [_everything(device) for device in devices]
    second = deploy(bundle, devices, store=store)
    assert [(actual.outcome, actual.sent_bytes) for actual in second.ok.values()] == [("unchanged", 0)] * 3
    assert [_everything(device) for device in devices] == before
    assert len(store.all(Deployment, parent=bundle.name)) == 6


def test_plan_rollout_tells_the_steps_and_changes_nothing(devices: Devices, bundle: Path) -> None:
    (plan,) = plan_rollout(bundle, devices[:1]).ok.values()
    assert [step.name for step in plan.steps] == ["send", "verify", "golden", "switch"]
    assert plan.send_bytes > 0
    assert not Path(devices[0].root).exists()


@pytest.mark.slow
def test_deploy_sends_only_what_is_new_when_releases_share_files(
    devices: Devices, bundle: Path, other_bundle: Path
) -> None:
    (first,) = deploy(bundle, devices[:1]).ok.values()
    (second,) = deploy(other_bundle, devices[:1]).ok.values()
    assert 0 < second.sent_bytes < first.sent_bytes / 4


@pytest.mark.slow
def test_rollback_serves_the_release_before_and_forth_again(
    devices: Devices, bundle: Path, other_bundle: Path, store: Store
) -> None:
    one = devices[:1]
    deploy(bundle, one, store=store)
    deploy(other_bundle, one, store=store)
    assert [actual.outcome for actual in rollback(one, store=store).ok.values()] == ["rolled-back"]
    (now,) = status(one, store=store).ok.values()
    assert (now.bundle, now.name, now.as_expected) == (bundle.name, "tiny", True)
    rollback(one, store=store)
    (now,) = status(one, store=store).ok.values()
    assert (now.bundle, now.as_expected) == (other_bundle.name, True)


@pytest.mark.slow
def test_rollback_refuses_a_missing_or_damaged_release(devices: Devices, bundle: Path, other_bundle: Path) -> None:
    one = devices[:1]
    deploy(bundle, one)
    assert "has no previous release" in rollback(one).failed[one[0]].what
    deploy(other_bundle, one)
    _flip_a_bit(_link(one[0], "previous") / "model.xml")
    assert "model.xml: its bytes are not the released ones" in rollback(one).failed[one[0]].what
    assert _serves(one[0]) == other_bundle.name


@pytest.mark.slow
def test_deploy_serves_the_others_when_some_devices_fail(
    devices: Devices, unreachable: Device, bundle: Path, store: Store, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong_hosts"
    wrong.write_text(
        Path(str(devices[1].known_hosts)).read_text().replace(f":{devices[2].port} ", f":{devices[0].port} ")
    )
    imposter = replace(devices[0], name="imposter", known_hosts=str(_only(wrong, devices[0].port)))
    full = replace(devices[1], name="full", variables={"toolkit_reserve_bytes": 1 << 60})
    bare = replace(devices[1], name="bare", python="/opt/toolkit/venv/bin/python3.99")
    result = deploy(bundle, (unreachable, imposter, full, bare, devices[2]), store=store)
    assert result.exit_code is ExitCode.SOME_FAILED
    assert list(result.ok) == [devices[2]]
    reasons = {device.name: problem.what for device, problem in result.failed.items()}
    assert "refuses connections" in reasons["unreachable"]
    assert "host key" in reasons["imposter"]
    assert "no room" in reasons["full"]
    assert "toolkit_python not found" in reasons["bare"]
    assert not Path(full.root).exists()
    recorded = {actual.device: actual for actual in store.all(Deployment)}
    assert {actual.outcome for name, actual in recorded.items() if name in reasons} == {"failed"}
    assert recorded["full"].reason == reasons["full"]


@pytest.mark.slow
def test_deploy_keeps_the_old_release_when_golden_fails(
    devices: Devices, bundle: Path, make_bundle: Callable[..., Path]
) -> None:
    one = devices[:1]
    deploy(bundle, one)
    wrong = make_bundle("wrong", golden_shift=0.2)
    problem = deploy(wrong, one).failed[one[0]]
    assert "golden check failed: max_abs 0.2" in problem.what
    assert "-m device golden" in problem.remedy
    assert _serves(one[0]) == bundle.name
    assert not (Path(one[0].root) / "deploy.lock").exists()


def test_deploy_touches_no_device_when_the_bundle_is_damaged(
    devices: Devices, make_bundle: Callable[..., Path]
) -> None:
    damaged = make_bundle("damaged", padding_bytes=1000)
    _flip_a_bit(damaged / "padding.bin")
    with pytest.raises(BundleError, match=r"padding\.bin: its bytes are not those"):
        deploy(damaged, devices)
    assert not any(Path(device.root).exists() for device in devices)


@pytest.mark.slow
def test_deploy_repairs_a_release_damaged_on_the_device(devices: Devices, bundle: Path) -> None:
    one = devices[:1]
    deploy(bundle, one)
    _flip_a_bit(_link(one[0], "current") / "model.bin")
    (plan,) = plan_rollout(bundle, one).ok.values()
    assert ([step.name for step in plan.steps], "model.bin" in plan.damaged) == (["send", "verify", "golden"], True)
    assert [actual.outcome for actual in deploy(bundle, one).ok.values()] == ["deployed"]
    assert plan_rollout(bundle, one).ok[one[0]].steps == ()


@pytest.mark.slow
def test_deploy_refuses_when_somebody_else_holds_the_lock(devices: Devices, bundle: Path) -> None:
    device = devices[0]
    with connect(device) as shell, device_lock(device, shell, "another deploy"):
        problem = deploy(bundle, (device,)).failed[device]
        (actual,) = status((device,)).ok.values()
    assert "another deploy" in str(actual.lock)
    assert f"(process {os.getpid()}) since" in problem.what
    assert "--break-lock" in problem.remedy
    assert not deploy(bundle, (device,)).failed


@pytest.mark.slow
def test_deploy_breaks_a_lock_on_request_or_after_a_restart(devices: Devices, bundle: Path, other_bundle: Path) -> None:
    device = devices[0]
    lock = Path(device.root) / "deploy.lock"
    for boot, break_lock in ((Path("/proc/sys/kernel/random/boot_id").read_text(), True), ("another boot\n", False)):
        lock.mkdir(parents=True)
        (lock / "info").write_text("left behind\n")
        (lock / "boot").write_text(boot)
        assert not deploy(other_bundle if break_lock else bundle, (device,), break_lock=break_lock).failed
        assert not lock.exists()


@pytest.mark.slow
def test_status_tells_drift_when_somebody_else_switched(
    devices: Devices, unreachable: Device, bundle: Path, other_bundle: Path, store: Store
) -> None:
    one = devices[0]
    deploy(bundle, (one,), store=store)
    deploy(other_bundle, (one,))
    result = status((one, devices[1], unreachable), store=store)
    assert (result.ok[one].as_expected, result.ok[one].name) == (False, "other")
    assert (result.ok[devices[1]].as_expected, result.ok[devices[1]].release) == (None, None)
    assert list(result.failed) == [unreachable]


@pytest.mark.slow
def test_deploy_tells_what_each_gate_found_and_keeps_it(devices: Devices, bundle: Path, store: Store) -> None:
    result = deploy(bundle, devices, gates=(*REQUIRED_GATES, HealthGate(1)), store=store)
    stored = {actual.device: actual for actual in store.all(Deployment)}
    for number, device in enumerate(devices, start=1):
        assert stored[device.name] == result.outcomes[device]
        assert (stored[device.name].batch, stored[device.name].rollout) == (number, result.rollout)
        assert set(stored[device.name].gates) == {"verify", "golden", "healthy"}
        assert "nothing to check" in stored[device.name].gates["healthy"]


@pytest.mark.slow
def test_deploy_asks_a_gate_that_other_code_put_among_the_others(devices: Devices, bundle: Path) -> None:
    class Friday:
        name = "friday"
        after_switch = False

        def describe(self, device: Device) -> str:
            return f"look at the calendar of {device.name}"

        def check(self, ground: GateContext) -> str:
            raise ValueError(f"{ground.device.name} rests")

    gates: tuple[Gate, ...] = (*REQUIRED_GATES, Friday())
    (plan,) = plan_rollout(bundle, devices[:1], gates=gates).ok.values()
    assert plan.steps[-2].what == "look at the calendar of local-1"
    result = deploy(bundle, devices[:1], gates=gates)
    assert "ValueError: local-1 rests" in result.failed[devices[0]].what
    assert _serves(devices[0]) is None


def test_deploy_says_which_groups_there_are_when_one_is_empty(devices: Devices, bundle: Path) -> None:
    with pytest.raises(UsageError, match=r"no device is in kitchen(.|\n)*local_fleet"):
        deploy(bundle, devices, strategy=Strategy(groups=("kitchen",)))


@pytest.mark.slow
def test_deploy_takes_groups_one_after_the_other(devices: Devices, bundle: Path) -> None:
    rooms = [
        replace(device, variables=device.variables | {"toolkit_room": room})
        for device, room in zip(devices, ("b", "a", "b"), strict=True)
    ]
    result = deploy(bundle, rooms, strategy=Strategy(groups=("toolkit_room=a",)))
    assert [each.batch for each in result.outcomes.values()] == [2, 1, 2]


@pytest.mark.slow
def test_deploy_goes_on_when_fewer_fail_than_may(devices: Devices, bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text(f'#!/bin/sh\ncase "$*" in *" golden "*) exit 9;; esac\nexec {sys.executable} "$@"\n')
    broken.chmod(0o755)
    fleet = (devices[0], replace(devices[1], python=str(broken)), devices[2])
    result = deploy(bundle, fleet, strategy=Strategy(max_failures=BatchSize(1)))
    assert [each.outcome for each in result.outcomes.values()] == ["deployed", "failed", "deployed"]
    assert (result.stopped, result.exit_code) == ("", ExitCode.SOME_FAILED)


@pytest.mark.slow
def test_devices_keep_a_log_of_what_was_done_to_them(devices: Devices, bundle: Path, other_bundle: Path) -> None:
    device = devices[0]
    for path in (bundle, other_bundle, other_bundle):
        deploy(path, (device,))
    rollback((device,))
    log = Path(device.root) / "audit.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["what"], line["outcome"]) for line in lines] == [
        ("deploy", "deployed"),
        ("deploy", "deployed"),
        ("rollback", "rolled-back"),
    ]
    assert lines[1]["replaced"] == lines[0]["release"] == lines[2]["release"]


def test_the_log_on_a_device_is_put_aside_when_it_has_grown(devices: Devices) -> None:
    device = devices[0]
    root = Path(device.root)
    root.mkdir()
    for number in range(7):
        append_audit(root, {"it's": number}, limit=20)
    assert sorted(path.name for path in root.iterdir()) == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert (root / "audit.jsonl").read_text() == '{"it\'s": 6}\n'
    assert (root / "audit.jsonl.2").read_text() == '{"it\'s": 2}\n{"it\'s": 3}\n'


@pytest.mark.slow
def test_deploy_skips_a_device_changed_since_the_preview(
    devices: Devices, bundle: Path, other_bundle: Path, make_bundle: Callable[..., Path]
) -> None:
    deploy(bundle, devices)
    second = make_bundle("second", bias=0.25)

    class Meanwhile:
        """On the canary, somebody else gives the third device another release."""

        name = "meanwhile"
        after_switch = False

        def describe(self, device: Device) -> str:
            return device.name

        def check(self, ground: GateContext) -> str:
            if ground.device == devices[0]:
                assert not deploy(second, devices[2:]).failed
            return "done"

    result = deploy(other_bundle, devices, gates=(*REQUIRED_GATES, Meanwhile()))
    assert [each.outcome for each in result.outcomes.values()] == ["rolled-back", "rolled-back", "failed"]
    assert "another user changed it during this rollout" in result.failed[devices[2]].what
    assert _serves(devices[2]) == second.name


def _everything(device: Device) -> dict[str, tuple[int, int]]:
    root = Path(device.root)
    return {str(path.relative_to(root)): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in root.rglob("*")}


def _link(device: Device, name: str) -> Path:
    return Path(device.root) / (Path(device.root) / name).readlink()


def _serves(device: Device) -> str | None:
    return status((device,)).ok[device].bundle


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def _only(known_hosts: Path, port: int) -> Path:
    """The key of another device is all that is pinned for that port."""
    lines = [line for line in known_hosts.read_text().splitlines() if f":{port} " in line]
    known_hosts.write_text(lines[-1] + "\n")
    return known_hosts


@pytest.mark.slow
def test_deploy_refuses_two_names_of_one_device_up_front(devices: tuple[Device, ...], bundle: Path) -> None:
    twin = replace(devices[0], name="twin")
    for verb in (deploy, plan_rollout):
        with pytest.raises(ConfigurationError, match="local-1 and twin are the same device"):
            verb(bundle, (devices[0], twin, devices[1]))
    assert not any(Path(device.root).exists() for device in devices[:2])


def test_strategy_from_config_reads_the_table() -> None:
    table = DeployConfig(batch="2,50%", groups=("attic",), pause_s=3, max_failures="10%", auto_rollback=False)
    assert strategy_from_config(table) == Strategy(
        batches=(BatchSize(2), BatchSize(50, percent=True)),
        groups=("attic",),
        pause_s=3,
        max_failures=BatchSize(10, percent=True),
        auto_rollback=False,
    )
    assert strategy_from_config(DeployConfig()) == Strategy()


@pytest.mark.parametrize(
    "wrong",
    [{"batch": "0"}, {"batch": "1,"}, {"batch": "101%"}, {"max_failures": "-1"}, {"min_speed": 0}, {"health_s": -1}],
)
def test_the_table_refuses_what_no_rollout_can_do(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DeployConfig(**wrong)


@pytest.mark.parametrize(
    ("table", "gates"),
    [
        ({"shadow_s": 60}, {"agreement": 0.95, "accuracy": None}),
        ({"shadow_s": 60, "shadow_accuracy": 0.8}, {"agreement": None, "accuracy": 0.8}),
        (
            {"shadow_s": 60, "shadow_accuracy": 0.8, "shadow_agreement": 0.5},
            {"agreement": 0.5, "accuracy": 0.8},
        ),
    ],
)
def test_comparison_is_that_of_the_table(table: dict[str, float], gates: dict[str, float | None]) -> None:
    options = shadow_from_config(DeployConfig(**table))
    assert options is not None
    assert (options.seconds, {"agreement": options.agreement, "accuracy": options.accuracy}) == (60, gates)
    assert shadow_from_config(DeployConfig()) is None


def test_gates_from_config_leaves_out_what_is_not_asked_for(workspace: Workspace) -> None:
    with Store(workspace.database) as store:
        assert [gate.name for gate in gates_from_config(DeployConfig(), store)] == ["verify", "golden", "healthy"]
        table = DeployConfig(min_speed=0.5, health_s=0, hooks=Path("hooks"))
        assert [gate.name for gate in gates_from_config(table, store)] == ["verify", "golden", "speed"]


def test_deploy_logs_in_to_each_device_once(
    devices: tuple[Device, ...], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, logins = fleet.connect, list[str]()

    @contextmanager
    def counted(device: Device) -> Iterator[Any]:
        logins.append(device.name)
        with connect(device) as shell:
            yield shell

    monkeypatch.setattr(fleet, "connect", counted)
    assert not deploy(bundle, devices).failed
    names = sorted(device.name for device in devices)
    logins.remove(names[0])  # the rollout's own lock is held on the first
    assert sorted(logins) == names
