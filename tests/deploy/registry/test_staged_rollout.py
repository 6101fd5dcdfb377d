"""Staged rollouts through Debian's own registry: devices that wait, batches that advance and halt, many devices."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from toolkit.bundle.release import release_tree
from toolkit.cli.main import main
from toolkit.deploy.registry.channel_statement import StatementOptions
from toolkit.deploy.registry.device_reports import fetch_reports
from toolkit.deploy.registry.oci_registry import open_registry
from toolkit.deploy.registry.publish import publish
from toolkit.deploy.registry.staged_rollout import publish_staged, publish_until_complete
from toolkit.deploy.registry.stages import EVERYONE, StagedOptions
from toolkit.deploy.strategy import Strategy, parse_sizes
from toolkit.device.activation import delivery
from toolkit.device.activation.delivery import GateOptions
from toolkit.device.release.cohort import CohortEntry, CohortRule, DeviceIdentity, is_member
from toolkit.device.release.freshness import STATEMENT
from toolkit.device.release.http_client import HttpClient
from toolkit.device.release.oci_registry import parse_reference
from toolkit.device.release.pull import TITLE, pull
from toolkit.workspace import Workspace

from .test_publish import Server, program, pulled, server, serves

pytestmark = pytest.mark.registry
__all__ = ["program", "server"]

Pull = Callable[..., tuple[int, dict[str, Any]]]
Toolkit = Callable[..., tuple[int, str]]


@pytest.fixture
def poll(tmp_path: Path, server: Server, key: Path) -> Pull:
    """poll(name): what the device of that name, which requires signatures, answers when its timer fires."""

    def run(name: str, *options: str) -> tuple[int, dict[str, Any]]:
        root = tmp_path / "devices" / name
        trust(root, key)
        return pulled(server.channel, root, "--report", name, *options)

    return run


@pytest.fixture
def toolkit(workspace: Workspace, key: Path, capfd: pytest.CaptureFixture[str]) -> Toolkit:
    """toolkit(*argv): the exit code and stdout of the command."""

    def run(*argv: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in (*argv, "--workspace", workspace.root)])
        return int(str(caught.value.code)), capfd.readouterr().out

    return run


def trust(root: Path, key: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "allowed_signers").write_text(f"ci@example.org {key.with_suffix('.pub').read_text()}")


def members(release: str, rule: CohortRule, names: Iterable[str]) -> set[str]:
    return {name for name in names if is_member(rule.cohort, DeviceIdentity(name), release)}


def staged(batch: str, **more: Any) -> StagedOptions:
    return StagedOptions(strategy=Strategy(batches=parse_sizes(batch)), **more)


@pytest.fixture
def old(bundle: Path, signed: Callable[[Path], Path]) -> Path:
    return signed(bundle)


@pytest.fixture
def new(other_bundle: Path, signed: Callable[[Path], Path]) -> Path:
    return signed(other_bundle)


def test_devices_outside_the_batch_wait_and_serve_on(
    server: Server, poll: Pull, toolkit: Toolkit, old: Path, new: Path, key: Path, tmp_path: Path
) -> None:
    names = ["a", "b", "c"]
    command = ("publish", new, server.channel, "--sign", key, "--batch", "1,100%", "--json")
    publish(old, server.channel, key=key)
    assert {poll(name)[1]["outcome"] for name in names} == {"deployed"}
    code, out = toolkit(*command)
    assert (code, json.loads(out)["rollout"]["state"]) == (0, "started")
    answers = {name: poll(name) for name in names}
    (inside,) = (name for name in names if answers[name][1]["outcome"] == "deployed")
    for name in {*names} - {inside}:
        code, output = answers[name]
        assert (code, output["ok"], output["outcome"]) == (0, True, "waiting")
        assert output["message"].startswith("not in batch 1 yet: this device is at ")
        assert serves(tmp_path / "devices" / name) == old.name
        assert not any("waiting" in line for line in (tmp_path / "devices" / name / "audit.jsonl").open())
    code, out = toolkit("status", "--channel", server.channel, "--json")
    assert (code, sorted(one["outcome"] for one in json.loads(out)["devices"])) == (
        0,
        ["deployed", "waiting", "waiting"],
    )
    code, out = toolkit(*command)
    assert (code, json.loads(out)["rollout"]["state"], json.loads(out)["rollout"]["deployed"]) == (
        0,
        "advanced",
        [inside],
    )
    assert poll("late")[1]["outcome"] == "deployed", "a late joiner follows the current statement"
    assert json.loads(toolkit(*command)[1])["rollout"]["state"] == "waiting"
    assert [poll(name)[1]["outcome"] for name in names].count("unchanged") == 1
    code, out = toolkit(*command[:-1])
    assert (code, "rollout complete, batch 2 of 2: all devices may take it" in out) == (0, True)
    assert {serves(tmp_path / "devices" / name) for name in (*names, "late")} == {new.name}
    published = json.loads(toolkit(*command)[1])
    assert (published["changed"], published["rollout"]["state"]) == (False, "complete"), "a second run does nothing"


def test_a_late_joiner_outside_the_batch_waits_without_a_release(
    server: Server, poll: Pull, new: Path, key: Path, tmp_path: Path
) -> None:
    rule = CohortRule(1, 0.0, (CohortEntry("kitchen", 1.0),))
    publish(new, server.channel, key=key, options=StatementOptions(rollout=rule))
    code, output = poll("hall", "--label", "hall")
    assert (code, output["outcome"], serves(tmp_path / "devices/hall")) == (0, "waiting", None)
    assert poll("stove", "--label", "kitchen", "--label", "floor=2")[1]["outcome"] == "deployed"
    labels = {one.device: one.labels for one in fetch_reports(server.channel)}
    assert labels == {"hall": {"hall"}, "stove": {"kitchen", "floor=2"}}
    assert "is not a label" in poll("bad", "--label", "a b")[1]["error"]["what"]


def test_rollout_halts_for_all_when_a_device_refuses(
    server: Server,
    poll: Pull,
    toolkit: Toolkit,
    old: Path,
    make_bundle: Callable[..., Path],
    signed: Callable[[Path], Path],
    key: Path,
    tmp_path: Path,
) -> None:
    names = ["a", "b", "c", "d"]
    publish(old, server.channel, key=key)
    for name in names:
        poll(name)
    wrong = signed(make_bundle("wrong", golden_shift=0.2))
    command = ("publish", wrong, server.channel, "--sign", key, "--batch", "2,100%")
    assert toolkit(*command)[0] == 0
    first, second = (name for name in names if is_waiting(server, wrong, name))
    assert poll(first)[0] == 1
    code, out = toolkit(*command)
    assert (code, "rollout halted, batch 1 of 2: 1 failed in batch 1, which is too many" in out) == (1, True)
    assert next(line for line in out.splitlines() if "refused" in line).startswith(first)
    assert "golden check failed" in out
    code, output = poll(second)
    assert (code, output["message"]) == (0, "the rollout is halted in batch 1")
    assert toolkit(*command)[0] == 1
    assert {serves(tmp_path / "devices" / name) for name in names} == {old.name}
    assert "golden" in next(one for one in fetch_reports(server.channel) if one.device == first).reason, (
        "it stays on record"
    )
    toolkit("publish", old, server.channel, "--sign", key)
    assert {poll(name)[1]["outcome"] for name in names} == {"unchanged"}


def is_waiting(server: Server, bundle: Path, name: str) -> bool:
    """Whether a device is in the running cohort."""
    with open_registry(server.channel) as registry:
        statement = json.loads(registry.document(registry.tagged(registry.tag)[1], STATEMENT))
    entries = [CohortEntry(**entry) for entry in statement["rollout"]["cohort"]]
    return is_member(entries, DeviceIdentity(name), release_tree(bundle).digest)


def test_devices_wait_for_their_maintenance_window(
    server: Server, poll: Pull, old: Path, new: Path, key: Path, tmp_path: Path
) -> None:
    publish(old, server.channel, key=key)
    poll("a")
    start, end = ((time.localtime().tm_hour + hours) % 24 for hours in (3, 5))
    window = f"{start:02}:00-{end:02}:00"
    publish_staged(new, server.channel, staged("100%", windows=(window,)), key=key)
    code, output = poll("a")
    assert (code, output["message"].startswith(f"outside the maintenance windows: {window}; local time is ")) == (
        0,
        True,
    )
    assert serves(tmp_path / "devices/a") == old.name
    window = f"{end:02}:00-{start:02}:00"
    publish_staged(new, server.channel, staged("100%", windows=(window,)), key=key)
    assert poll("a")[1]["outcome"] == "deployed"


def forge(server: Server, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the statement of the channel, as somebody who can only write to the registry."""
    with open_registry(server.channel) as registry:
        _, manifest = registry.tagged(registry.tag)
        statement = json.loads(registry.document(manifest, STATEMENT))
        change(statement)
        for layer in manifest["layers"]:
            if layer["annotations"].get(TITLE) == STATEMENT:
                layer.update(registry.put_blob(json.dumps(statement).encode()))
        registry.put_manifest(registry.tag, manifest)


@pytest.mark.parametrize(
    "change",
    [
        lambda statement: statement["rollout"].update(cohort=[{"group": "", "share": 1.0}], batch=2),
        lambda statement: statement["rollout"].update(cohort=[], halted=True),
        lambda statement: statement.pop("rollout"),
    ],
    ids=["wider", "halted", "without"],
)
def test_forged_stage_is_followed_by_nobody(
    server: Server, poll: Pull, new: Path, key: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    options = staged("1%,100%")
    first = publish_staged(new, server.channel, options, key=key).step.rule
    forge(server, change)
    code, output = poll("a")
    assert (code, "signature" in output["error"]["what"]) == (1, True), "it is not silent"
    assert serves(tmp_path / "devices/a") is None
    again = publish_staged(new, server.channel, options, key=key).step
    assert (again.state, again.rule.batch, first.batch) == ("started", 1, 1), (
        "the controller does not believe it either"
    )
    assert again.rule.cohort[0].share < 1


def test_stage_that_is_replayed_is_below_the_floor(server: Server, poll: Pull, new: Path, key: Path) -> None:
    rule = CohortRule(1, 0.0, (CohortEntry("", 0.0),))
    publish(new, server.channel, key=key, options=StatementOptions(rollout=CohortRule(2, 0.0, EVERYONE)))
    with open_registry(server.channel) as registry:
        _, wide = registry.tagged(registry.tag)
    publish(new, server.channel, key=key, options=StatementOptions(rollout=rule))
    assert poll("a")[1]["outcome"] == "waiting"
    with open_registry(server.channel) as registry:
        registry.put_manifest(registry.tag, wide)
    code, output = poll("a")
    assert (code, "is older than what this device has seen" in output["error"]["what"]) == (1, True)


FLEET = int(os.environ.get("SIMULATED_DEVICES", "250"))
FIRST = 10 / FLEET
"""The share of the first batch: it has a device, but for one run in 20,000."""
SIGNED = 25
LATE = 20


class SimulatedFleet:
    """Devices in threads of this process. They pull over HTTP and decide as devices do; to install, they only switch the link.

    Chunks are not fetched and gates do not run. The first SIGNED of them verify signatures and freshness.
    """

    def __init__(
        self, channel: str, folder: Path, key: Path, monkeypatch: pytest.MonkeyPatch, count: int = FLEET + LATE
    ) -> None:
        self._channel, self._folder = channel, folder
        self.names = [f"pi-{number}" for number in range(count)]
        self.requests = Counter[str]()
        for name in self.names:
            (folder / name / "releases/old").mkdir(parents=True)
            (folder / name / "current").symlink_to("releases/old")
        for name in self.names[:SIGNED]:
            trust(folder / name, key)
        request, lock = HttpClient.request, threading.Lock()

        def counted(client: HttpClient, method: str, *arguments: Any, **settings: Any) -> Any:
            with lock:
                self.requests[method] += 1
            return request(client, method, *arguments, **settings)

        monkeypatch.setattr(HttpClient, "request", counted)
        monkeypatch.setattr(delivery, "_fetch_missing", lambda *_: ())
        monkeypatch.setattr(delivery, "_activate", self._switch)

    @staticmethod
    def _switch(root: Path, descriptor: Any, *_: object) -> dict[str, str]:
        if (root / "current").readlink().name == descriptor.digest:
            return {}
        (root / descriptor.layout["place"]).mkdir()
        (root / "next").symlink_to(descriptor.layout["place"])
        (root / "next").replace(root / "current")
        return {"switched": "simulated"}

    def poll(self, names: Iterable[str]) -> Counter[str]:
        """Let each of these devices pull once, eight at a time; return their outcomes."""

        def one(name: str) -> str:
            registry = parse_reference(self._channel)
            try:
                return str(pull(registry, self._folder / name, GateOptions(), name)["outcome"])
            finally:
                registry.close()

        with ThreadPoolExecutor(8) as pool:
            return Counter(pool.map(one, names))

    def serving(self, release: str) -> set[str]:
        return {name for name in self.names if (self._folder / name / "current").readlink().name == release}


@pytest.mark.timeout(1800)
def test_many_devices_take_a_release_in_batches(
    server: Server, new: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = SimulatedFleet(server.channel, tmp_path / "devices", key, monkeypatch)
    present, late, off = fleet.names[:FLEET], fleet.names[FLEET:], fleet.names[100:120]
    release, options = release_tree(new).digest, staged(f"{FIRST * 100:g}%,25%,100%")

    def advance() -> tuple[str, CohortRule]:
        step = publish_staged(new, server.channel, options, key=key).step
        return step.state, step.rule

    state, first = advance()
    assert state == "started"
    fleet.requests.clear()
    fleet.poll(present[:1])
    assert fleet.requests == {"GET": 6, "HEAD": 2, "POST": 1, "PUT": 2}, "what a poll costs, with its report"
    outcomes = fleet.poll(name for name in present if name not in off)
    assert fleet.serving(release) == members(release, first, present) - {*off}
    assert outcomes["waiting"] == FLEET - len(off) - len(fleet.serving(release))
    state, second = advance()
    assert (state, round(second.cohort[-1].share, 2)) == ("advanced", round(FIRST + 0.25, 2))
    before = fleet.serving(release)
    admitted = members(release, second, [*present, *late])
    fleet.poll({*admitted, *present[:200], *late})
    assert before < fleet.serving(release) == admitted
    assert abs(len(fleet.serving(release)) / FLEET - FIRST - 0.25) < 0.15
    state, third = advance()
    assert (state, third.cohort) == ("advanced", EVERYONE)
    some = present[:200]
    assert fleet.poll(some)["unchanged"] == len(members(release, second, some))
    assert {*some} <= fleet.serving(release)


def test_wait_looks_again_until_the_rollout_is_complete(
    server: Server, old: Path, new: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = SimulatedFleet(server.channel, tmp_path / "devices", key, monkeypatch, count=4)
    publish(old, server.channel, key=key)
    fleet.poll(fleet.names)
    stop = threading.Event()

    def poll_until_stopped() -> None:
        while not stop.wait(0.05):
            fleet.poll(fleet.names)

    thread = threading.Thread(target=poll_until_stopped)
    thread.start()
    try:
        result = publish_until_complete(new, server.channel, staged("1%,50%,100%"), seconds=240, every_s=0.1, key=key)
    finally:
        stop.set()
        thread.join()
    assert result.step.state == "complete"
    fleet.poll(fleet.names)  # four of five had to serve it; the others follow
    assert fleet.serving(release_tree(new).digest) == {*fleet.names}
