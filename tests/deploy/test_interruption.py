"""Ctrl-C during a deploy, in a real process: the old release serves, nothing is locked, the next run heals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.artifacts import Device, Workspace
from toolkit.deploy import deploy

SLOW_PYTHON = """#!/bin/sh
case "$*" in *" golden "*) touch {root}/checking; [ -e {root}/go ] || sleep 60;; esac
exec {python} "$@"
"""


@pytest.mark.parametrize("moment", ["golden", "transfer"])
def test_deploy_exits_130_and_the_next_run_heals_when_interrupted(
    moment: str,
    devices: tuple[Device, ...],
    bundle: Path,
    make_bundle: Callable[..., Path],
    write_inventory: Callable[..., Path],
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    device, root = devices[0], Path(devices[0].root)
    assert not deploy(bundle, (device,)).failed
    old = (root / "current").readlink()
    slow = tmp_path / "python"
    slow.write_text(SLOW_PYTHON.format(root=root, python=sys.executable))
    slow.chmod(0o755)
    new = make_bundle(moment, padding_bytes=160_000_000 if moment == "transfer" else 1000)
    inventory = write_inventory((device,), toolkit_python=str(slow))
    words = [
        str(Path(sys.executable).with_name("toolkit")),
        "deploy",
        str(new),
        "--fleet",
        "--inventory",
        str(inventory),
        "--json",
    ]
    words += ["--workspace", str(workspace.root)]

    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _wait_for(lambda: _has_come(moment, root), process)
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert "interrupted" in talk
    assert "Traceback" not in talk
    assert (root / "current").readlink() == old
    _wait_for(lambda: not (root / "deploy.lock").exists())

    (root / "go").touch()
    healed = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert healed.returncode == 0, healed.stderr
    assert json.loads(healed.stdout)["devices"][0]["outcome"] == "deployed"
    assert (root / "current").readlink() != old
    assert (root / "previous").readlink() == old


def _has_come(moment: str, root: Path) -> bool:
    return (root / "checking").exists() if moment == "golden" else any(root.glob("store/*.part"))


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)
