from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet import LocalShell, probe
from toolkit.fleet.facts import missing_requirements


def test_probe_describes_a_bare_device_and_leaves_nothing(devices: tuple[Device, ...]) -> None:
    device = devices[0]
    from toolkit.fleet import connect

    with connect(device) as shell:
        facts = probe(device, shell)
    assert (facts.device, facts.current, facts.releases) == (device.name, None, ())
    assert facts.openvino
    assert "CPU" in facts.accelerators
    assert facts.details["root"] == device.root
    assert missing_requirements(device, facts) == ()
    assert not Path(device.root).exists()


def test_probe_says_what_is_missing_when_there_is_no_interpreter(local_device: Device, local_shell: LocalShell) -> None:
    root = Path(local_device.root)
    (root / "releases/abc").mkdir(parents=True)
    (root / "current").symlink_to("releases/abc")
    bare = replace(local_device, python="/opt/toolkit/venv/bin/python3.99")
    facts = probe(bare, local_shell)
    assert (facts.python, facts.openvino, facts.current, facts.previous) == ("", None, "abc", None)
    assert facts.free_bytes > 0
    (problem,) = missing_requirements(bare, facts)
    assert problem.what.startswith("toolkit_python not found: /opt/toolkit/venv/bin/python3.99 (it has: ")
    assert "provision-pi.yml" in problem.remedy


def test_probe_explains_when_the_interpreter_does_not_work(
    local_device: Device, local_shell: LocalShell, tmp_path: Path
) -> None:
    for output, pattern in (("exit 3", r"probing failed \(exit code 3\)"), ("echo hello", "something else than facts")):
        broken = tmp_path / "python"
        broken.write_text(f"#!/bin/sh\n{output}\n")
        broken.chmod(0o755)
        with pytest.raises(FleetError, match=pattern):
            probe(replace(local_device, python=str(broken)), local_shell)


def test_missing_requirements_names_each_missing_package(
    local_device: Device, local_shell: LocalShell, tmp_path: Path
) -> None:
    alone = tmp_path / "python"
    alone.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    alone.chmod(0o755)
    device = replace(local_device, python=str(alone))
    whats = [problem.what for problem in missing_requirements(device, probe(device, local_shell))]
    assert [what.split(" import ")[1].split(":")[0] for what in whats] == ["OpenVINO", "NumPy", "OpenCV"]
    assert "ModuleNotFoundError" in whats[0]
