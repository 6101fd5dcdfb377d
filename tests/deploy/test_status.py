"""Status names root folders that a restart empties."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.deploy import commands
from toolkit.deploy.status import parse

MOUNT = """
cd "$1"
mkdir lower memory root
mount -t tmpfs none memory
mkdir memory/upper memory/work memory/root
case $2 in
  memory) mount --bind memory/root root ;;
  overlay*) mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/memory/upper,workdir=$1/memory/work" none root ;;
esac
if [ "$2" = overlay-of-container ]; then umount --lazy memory; fi
"""


@pytest.mark.engine
@pytest.mark.parametrize(
    ("storage", "volatile"), [("memory", True), ("overlay-in-memory", True), ("overlay-of-container", False)]
)
def test_status_tells_storage_that_a_restart_forgets(tmp_path: Path, storage: str, volatile: bool) -> None:
    """Mounts as a container engine does. Where a container's overlay writes is not visible in it, so it is not reported."""
    device = Device(name="one", host="h", root=str(tmp_path / "root"))
    script = f"set -eu\n{MOUNT}\nexec {shlex.join(commands.status(device))}"
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    inside: list[str | Path] = ["unshare", *root, "--mount", "sh", "-c", script, "sh", tmp_path, storage]
    output = subprocess.run(inside, check=True, capture_output=True, text=True).stdout
    assert parse(device, output).volatile == volatile


@pytest.mark.parametrize(("storage", "volatile"), [("tmpfs", True), ("ramfs", True), ("ext2/ext3", False), ("", False)])
def test_parse_knows_file_systems_in_memory(storage: str, volatile: bool) -> None:
    assert parse(Device(name="one", host="h"), f"storage:{storage}\n").volatile == volatile
