from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.deploy import REQUIRED_GATES, HealthGate, SpeedGate, commands
from toolkit.deploy.lock import describe_lock, lock_info
from toolkit.deploy.plan import is_served, make_plan
from toolkit.deploy.status import parse
from toolkit.device.activation.release_code import RUN, Runtime
from toolkit.errors import FleetError
from toolkit.fleet.transfer.diff import RemoteState
from toolkit.fleet.transfer.tree import build_tree

DEVICE = Device(name="pi-1", host="pi-1", root="/opt/toolkit", python="/venv/bin/python", accelerator="MYRIAD")
TREE = build_tree({"a": b"1234", "b": b"12345678", "c": b"1234"})
FACTS = DeviceFacts(
    device="pi-1",
    machine="aarch64",
    python="3.9.2",
    openvino="2022.3.2",
    accelerators=("CPU", "MYRIAD.1.2-ma2480"),
    free_bytes=1 << 34,
    current="0" * 64,
    previous=None,
    releases=("0" * 64,),
    details={"openvino": "2022.3.2", "numpy": "1.26", "opencv": "4.10"},
)
BARE = RemoteState(free_bytes=1 << 34, free_inodes=None, intact=frozenset(), stored=frozenset(), damaged=())
WHOLE = replace(BARE, intact=frozenset("abc"))


def test_make_plan_sends_each_content_once_to_a_bare_device() -> None:
    plan = make_plan(TREE, DEVICE, FACTS, BARE)
    assert [step.name for step in plan.steps] == ["send", "verify", "golden", "switch"]
    assert plan.send_bytes == 12
    assert plan.steps[0].what == "2 of 3 files, 12 B"
    assert plan.steps[-1].what == "serve it instead of 000000000000"


def test_make_plan_sends_nothing_when_the_release_is_stored() -> None:
    assert [step.name for step in make_plan(TREE, DEVICE, FACTS, WHOLE).steps] == ["verify", "golden", "switch"]


def test_make_plan_asks_every_gate_before_or_after_the_switch() -> None:
    gates = (*REQUIRED_GATES, SpeedGate(0.5, ()), HealthGate(3))
    plan = make_plan(TREE, DEVICE, FACTS, BARE, gates)
    assert [step.name for step in plan.steps] == ["send", "verify", "golden", "speed", "switch", "healthy"]
    assert plan.steps[3].what == "no earlier measurement on the device to compare with"
    damaged = make_plan(TREE, DEVICE, replace(FACTS, current=TREE.digest), BARE, gates)
    assert [step.name for step in damaged.steps] == ["send", "verify", "golden", "speed"]


def test_make_plan_is_empty_when_it_serves_already() -> None:
    assert make_plan(TREE, DEVICE, replace(FACTS, current=TREE.digest), WHOLE).steps == ()
    assert is_served(TREE, TREE.digest, WHOLE)
    assert not is_served(TREE, TREE.digest, BARE)
    assert not is_served(TREE, None, WHOLE)


def test_make_plan_names_every_reason_against_a_device() -> None:
    lacking = replace(FACTS, accelerators=("CPU",), details={"openvino": "2022.3.2", "numpy_error": "ImportError: no"})
    with pytest.raises(FleetError) as caught:
        make_plan(TREE, DEVICE, lacking, BARE)
    whats = [problem.what for problem in caught.value.problems]
    assert whats == [
        "/venv/bin/python cannot import NumPy: ImportError: no",
        "/venv/bin/python cannot import OpenCV: not found",
        "OpenVINO sees no MYRIAD (it sees: CPU)",
    ]


def test_make_plan_explains_an_openvino_too_new_for_the_ncs2() -> None:
    with pytest.raises(FleetError, match=r"sees no MYRIAD.*\n.*OpenVINO 2026\.4\.1 does not support it: "):
        make_plan(TREE, DEVICE, replace(FACTS, accelerators=("CPU",), openvino="2026.4.1-22982"), BARE)


def test_make_plan_takes_the_cpu_when_the_accelerator_is_auto() -> None:
    auto = replace(DEVICE, accelerator="AUTO")
    assert make_plan(TREE, auto, replace(FACTS, accelerators=("CPU",)), BARE).steps


def test_make_plan_refuses_when_there_is_no_room() -> None:
    with pytest.raises(FleetError, match=r"pi-1: no room: 8\.2 kB to send and 67\.1 MB to stay free, but 1\.0 MB are"):
        make_plan(TREE, DEVICE, FACTS, replace(BARE, free_bytes=1_000_000))


def test_golden_runs_the_releases_code_on_the_accelerator() -> None:
    folder = "/opt/toolkit/releases/abc"
    runtime = Runtime("/venv/bin/python", "MYRIAD")
    assert runtime.argv(Path("/opt/toolkit"), Path(folder), "golden", folder, "--accelerator", "MYRIAD") == [
        *("/bin/sh", "-c", RUN, "sh", "/opt/toolkit", folder, "none", "MYRIAD"),
        *("/venv/bin/python", "-B", "-m", "device", "golden", folder, "--accelerator", "MYRIAD"),
    ]


def test_commands_carry_what_varies_as_arguments_of_their_own() -> None:
    assert commands.session(DEVICE)[3:6] == ["sh", "/opt/toolkit", "/venv/bin/python"]
    assert commands.status(DEVICE)[-2] == "/opt/toolkit"


def test_parse_reads_what_a_device_serves() -> None:
    output = (
        "current:1700000000 'current' -> 'releases/abc'\n"
        'current/release.json:{"bundle":"def"}\ncurrent/manifest.json:{"name":\ncurrent/manifest.json:"mobilenet: fast"}\n'
    )
    result = parse(DEVICE, output)
    assert (result.release, result.previous, result.bundle, result.name) == ("abc", None, "def", "mobilenet: fast")
    assert (result.since, result.lock, result.as_expected) == ("2023-11-14T22:13:20+00:00", None, None)
    assert parse(DEVICE, "").release is None
    modes = ("0 755", "0 775", "1000 755", "0 757", "")
    assert [parse(DEVICE, f"agent:{mode}\n").agent for mode in modes] == ["root", *["sent"] * 4]
    assert parse(DEVICE, "current:1 'current' -> 'releases/abc'\ncurrent/release.json:{damaged\n").bundle is None


def test_status_is_read_whatever_the_device_is_set_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "releases/abc").mkdir(parents=True)
    (tmp_path / "releases/abc/release.json").write_text('{"bundle": "däf"}')
    (tmp_path / "current").symlink_to("releases/abc")
    monkeypatch.setenv("QUOTING_STYLE", "literal")
    monkeypatch.setenv("LC_ALL", "C")
    device = replace(DEVICE, root=str(tmp_path))
    output = subprocess.run(commands.status(device), capture_output=True, check=True).stdout.decode()
    result = parse(device, output)
    assert (result.release, result.previous, result.bundle) == ("abc", None, "däf")


def test_describe_lock_is_for_people_whatever_it_holds() -> None:
    assert describe_lock(lock_info("deploy abc")).endswith("UTC: deploy abc")
    assert describe_lock("by hand") == "by hand"
    assert describe_lock("") == "an unknown controller"
