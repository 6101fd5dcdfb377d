from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.device.activation.child import Children
from toolkit.device.activation.service import Service
from toolkit.device.errors import DeviceError


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
    service = Service(password="open sesame")
    assert service.restart(tmp_path, Children()) == "toolkit-runner.service"
    assert (tmp_path / "password").read_text() == "open sesame\n"
    assert "open sesame" not in (tmp_path / "sudo").read_text()
    with pytest.raises(DeviceError, match="restarting the service failed") as caught:
        Service().restart(tmp_path, Children())
    assert "-K" in caught.value.remedy
    assert "ansible_become_password" in caught.value.remedy
