"""Power cuts of the booted arm64 machine during a deployment: QEMU ends at once, and unwritten data is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from toolkit import hashing
from toolkit.progress import Lines
from toolkit.virtual import devices
from toolkit.virtual.machine import send_command
from toolkit.workspace import Workspace

from ..bundles import sealed
from .conftest import BIN, Pi, deploy

pytestmark = [pytest.mark.pi, pytest.mark.timeout(1800)]

PADDING_BYTES = 24_000_000
"""Slows the transfer down."""
ROOT = "/opt/toolkit"
SIGNS = {
    "during the transfer": f"ls {ROOT}/store/*.part >/dev/null 2>&1",
    "while it is judged": f'ls {ROOT}/releases | grep -qvxF "$RELEASES"',
    "at the switch": f"test -L {ROOT}/.current.new || test $(readlink {ROOT}/current) != $SERVES",
    "right after the switch": f"test $(readlink {ROOT}/current) != $SERVES && sleep 1",
}


def padded(bundle: Path, folder: Path) -> Path:
    """The same model with additional bytes."""
    copy = shutil.copytree(bundle, folder / "copy")
    (copy / "padding.bin").write_bytes(os.urandom(PADDING_BYTES))
    manifest = json.loads((copy / "manifest.json").read_text())
    padding = {"sha256": hashing.sha256_file(copy / "padding.bin"), "size_bytes": PADDING_BYTES}
    manifest["files"]["padding.bin"] = padding
    return sealed(copy, manifest)


def serves_whole(pi: Pi) -> str:
    """The current bundle, after its release was verified on the device."""
    run = f"cd {ROOT}/current && {ROOT}/venv/bin/python -B -m device"
    assert json.loads(pi.sh(f"{run} verify ."))["ok"]
    assert json.loads(pi.sh(f"{run} golden ."))["ok"]
    return str(json.loads(pi.sh(f"cat {ROOT}/current/release.json"))["bundle"])


@pytest.mark.parametrize("moment", SIGNS)
def test_power_cut_leaves_a_whole_release_serving(
    moment: str, provisioned: Pi, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    deploy(provisioned, tiny_bundle, tmp_path / "old")
    new = padded(tiny_bundle, tmp_path)
    serves, releases = provisioned.sh(f"readlink {ROOT}/current && ls {ROOT}/releases").strip().split("\n", 1)
    argv = [BIN / "toolkit", "deploy", new, "--fleet", "--inventory", provisioned.inventory, "--workspace", tmp_path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as rollout:
        provisioned.sh(f"SERVES={serves} RELEASES='{releases}'; until {SIGNS[moment]}; do sleep 0.02; done")
        send_command(provisioned.machine, "quit")
        output, _ = rollout.communicate()
    assert rollout.returncode != 0, output
    devices.up(Workspace(provisioned.inventory.parent), 1, Lines(), sticks=True)
    assert serves_whole(provisioned) in {tiny_bundle.name, new.name}
    deploy(provisioned, new, tmp_path / "old")
    assert serves_whole(provisioned) == new.name
