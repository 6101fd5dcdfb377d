"""The lock of a device: one holder at a time, and none that a killed process leaves for good."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.device.deploy_lock import LockTakenError, deploy_lock

KILLED = """
import os, signal, sys
from pathlib import Path
from toolkit.device.deploy_lock import deploy_lock
left = int(sys.argv[2])
def end(event, arguments):
    global left
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") or event == "open" and ".lock" in str(arguments[0]):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(end)
with deploy_lock(Path(sys.argv[1]), "a test"):
    pass
print("done")
"""


def test_lock_has_one_holder_and_names_it(tmp_path: Path) -> None:
    with deploy_lock(tmp_path, "a test"):
        with pytest.raises(LockTakenError, match="a test") as taken, deploy_lock(tmp_path):
            pass
        assert json.loads(taken.value.info)["why"] == "a test"
        with deploy_lock(tmp_path, name="rollout"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_lock_is_never_left_for_good_when_its_holder_is_killed(tmp_path: Path) -> None:
    """At each of its steps."""
    for step in range(1, 40):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), str(step)], capture_output=True, text=True, check=False
        )
        with deploy_lock(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []
        if done.stdout:
            assert step > 8
            return
    pytest.fail("it never ended by itself")


def test_empty_lock_holds_nobody_off(tmp_path: Path) -> None:
    (tmp_path / "deploy.lock").mkdir()
    with deploy_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
