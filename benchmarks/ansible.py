"""`just bench ansible`: a second provisioning, which changes nothing, against the roles before they were made faster.

Theirs are the roles of commit YARDSTICK with Ansible's default settings, ours the roles of this checkout with its ansible.cfg. Each
has a virtual device of its own: emulated arm64 machines, slower than a Pi, on loopback. They are provisioned in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scores import Score, conclude

from toolkit.progress import Lines
from toolkit.virtual import devices
from toolkit.virtual.disk_image import SUITE
from toolkit.workspace import Workspace

REPOSITORY = Path(__file__).parents[1]
YARDSTICK = "34737a0f8593412319315ef00c1f3f32c3ba7799"
ROUNDS = 3
GOAL = 2.0


@dataclass(frozen=True)
class Side:
    """A checkout, the device that it provisions, and Ansible's settings."""

    checkout: Path
    inventory: Path
    device: str
    settings: Mapping[str, str]


def main() -> int:
    """Provision each device once, then both in turns."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", default=SUITE, help="release of Debian on the devices")
    suite = parser.parse_args().suite
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        workspace = Workspace(folder)
        try:
            before = checkout(folder / "yardstick")
            fleet = devices.up(workspace, 2, Lines(), suite=suite)
            ours, theirs = (
                Side(root, described(fleet.inventory, root, folder / device.name), device.name, settings)
                for root, device, settings in zip(
                    (REPOSITORY, before), fleet.devices, (shipped(), defaults(folder, before)), strict=True
                )
            )
            first_s = {side.device: play(side, expect_no_change=False) for side in (theirs, ours)}
            runs: dict[str, list[float]] = {ours.device: [], theirs.device: []}
            for _ in range(ROUNDS):
                for side in (theirs, ours):
                    runs[side.device].append(play(side))
            for side in (ours, theirs):
                play(side, profiled(folder / side.device))
            tables = [by_role(folder / side.device / "junit") for side in (ours, theirs)]
        finally:
            devices.down(workspace)
    ours_s, theirs_s = (statistics.median(runs[side.device]) for side in (ours, theirs))
    method = (
        f"`just bench ansible`: `provision-pi.yml` on virtual devices (arm64 under QEMU, 2 CPUs, {suite}) that it changes nothing on: the "
        f"roles and ansible.cfg of this checkout against the roles of {YARDSTICK[:7]} with Ansible's defaults, each on a device of its "
        f"own, in turns; the ratio is that of the medians of {ROUNDS}. The first runs, on bare machines with wheels from a wheelhouse, "
        f"took {first_s[ours.device]:.0f} s and {first_s[theirs.device]:.0f} s. {tables[0][1]} tasks ran instead of {tables[1][1]}.\n\n"
        f"Ours by role:\n\n{tables[0][0]}\n\nTheirs by role:\n\n{tables[1][0]}"
    )
    score = Score("ansible.no-op", theirs_s / ours_s, GOAL, f"{ours_s:.1f} s", f"{theirs_s:.1f} s")
    return conclude("ansible", "Provisioning", method, [score])


def checkout(folder: Path) -> Path:
    """The repository as it was at YARDSTICK."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", YARDSTICK], cwd=REPOSITORY, capture_output=True, check=False)
    if archive.returncode:
        raise SystemExit(
            f"no commit {YARDSTICK} in {REPOSITORY}: fetch the repository's whole history\n{archive.stderr.decode()}"
        )
    subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    return folder


def described(inventory: Path, root: Path, folder: Path) -> Path:
    """The inventory with the wheels that the checkout in `root` locks, for each Python of the suites."""
    folder.mkdir()
    for python, glibc in (("3.13", "41"), ("3.11", "36")):
        command = [str(root / "scripts/wheelhouse.sh"), str(folder / "wheelhouse"), "aarch64", "device", python, glibc]
        subprocess.run(command, check=True)
    document = json.loads(inventory.read_text().partition("\n")[2])  # after a comment; JSON is YAML
    document["virtual"]["vars"] |= {"openvino_wheelhouse": str(folder / "wheelhouse"), "monitoring_enabled": True}
    path = folder / "fleet.yml"
    path.write_text(json.dumps(document))
    return path


def shipped() -> dict[str, str]:
    """Settings as a user of the repository has them."""
    return {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible/ansible.cfg")}


def defaults(folder: Path, root: Path) -> dict[str, str]:
    """Ansible's own settings, and where the roles and filters of the checkout in `root` are."""
    (folder / "empty.cfg").write_text("[defaults]\n")
    return {
        "ANSIBLE_CONFIG": str(folder / "empty.cfg"),
        "ANSIBLE_ROLES_PATH": str(root / "ansible/roles"),
        "ANSIBLE_FILTER_PLUGINS": str(root / "ansible/plugins/filter"),
        "PYTHONPATH": str(root),  # their filter reads their own compat.toml
    }


def profiled(folder: Path) -> dict[str, str]:
    """Settings that write how long each task took."""
    return {"ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit", "JUNIT_OUTPUT_DIR": str(folder / "junit")}


def play(side: Side, settings: Mapping[str, str] | None = None, *, expect_no_change: bool = True) -> float:
    """Seconds that the playbook takes."""
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(side.inventory), "provision-pi.yml"]
    command += ["--limit", side.device]
    environment = {**os.environ, **side.settings, **(settings or {})}
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=side.checkout / "ansible", env=environment, capture_output=True, text=True, check=False
    )
    took_s = time.perf_counter() - began
    if done.returncode or (expect_no_change and "changed=0" not in done.stdout):
        raise SystemExit(done.stdout + done.stderr)
    print(f"{side.device} {took_s:.1f} s", file=sys.stderr)
    return took_s


def by_role(folder: Path) -> tuple[str, int]:
    """A table of tasks and seconds by role from JUnit's report, and how many tasks there were."""
    roles: dict[str, list[float]] = defaultdict(list)
    for report in folder.glob("*.xml"):
        for case in ET.parse(report).iter("testcase"):
            if case.find("skipped") is None:
                result = re.search(r"(\w+) : ", case.attrib["name"])
                roles[result.group(1) if result else "(play)"].append(float(case.attrib["time"]))
    rows = "\n".join(f"| {role} | {len(times)} | {sum(times):.1f} |" for role, times in roles.items())
    return f"| role | tasks | seconds |\n|---|---|---|\n{rows}", sum(map(len, roles.values()))


if __name__ == "__main__":
    raise SystemExit(main())
