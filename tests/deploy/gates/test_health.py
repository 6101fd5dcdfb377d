from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.deploy.gates import health
from toolkit.errors import FleetError
from toolkit.fleet import LocalShell


def test_restart_passes_the_become_password_to_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On stdin: no argument and no environment shows it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    scripts = {
        "id": "echo 1000",
        "systemctl": f'echo "$@" >> {tmp_path}/systemctl',
        "sudo": f'[ "$1" = -n ] && exit 1; head -n 1 > {tmp_path}/password; echo "$@" > {tmp_path}/sudo; shift 3; "$@"',
    }
    for name, text in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    device = Device(name="one", host="h", root=str(tmp_path), become_password="open sesame")
    assert health.restart(device, LocalShell(device)) == "toolkit-runner.service"
    assert (tmp_path / "password").read_text() == "open sesame\n"
    assert "open sesame" not in (tmp_path / "sudo").read_text()
    with pytest.raises(FleetError, match=r"(?s)restarting the service failed.*ansible_become_password"):
        health.restart(replace(device, become_password=None), LocalShell(device))
