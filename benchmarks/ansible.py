"""`just bench ansible`: provisioning a device that is as it should be, with ansible.cfg as shipped against Ansible's defaults.

The device is a virtual one: an emulated arm64 machine, slower than a Pi, on loopback. So the ratio says how much less the settings
make a device and the wire do; the seconds are those of this machine.
"""

from __future__ import annotations

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
from pathlib import Path

from scores import Score, conclude

from toolkit.progress import Lines
from toolkit.virtual import devices
from toolkit.workspace import Workspace

HOUSE = Path(__file__).parents[1]
ANSIBLE = HOUSE / "ansible"
ROUNDS = 3
GOAL = 1.5


def main() -> int:
    """Provision once, then run both in turns."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        workspace = Workspace(Path(folder))
        try:
            fleet = devices.up(workspace, 1, Lines())
            inventory = described(fleet.inventory, Path(folder))
            first_s = play(inventory, shipped(), expect_no_change=False)
            runs: dict[str, list[float]] = {"ours": [], "theirs": []}
            for _ in range(ROUNDS):
                runs["theirs"].append(play(inventory, defaults(Path(folder))))
                runs["ours"].append(play(inventory, shipped()))
            play(inventory, shipped() | profiled(Path(folder)))
            table, tasks = by_role(Path(folder) / "junit")
        finally:
            devices.down(workspace)
    ours, theirs = (statistics.median(runs[name]) for name in ("ours", "theirs"))
    method = (
        "`just bench ansible`: `provision-pi.yml` on a virtual device (arm64 under QEMU, 2 CPUs) that it changes nothing on, with "
        f"ansible.cfg as shipped against Ansible's defaults, in turns; the ratio is that of the medians of {ROUNDS}. The first run, "
        f"on the bare machine with wheels from a wheelhouse, took {first_s:.0f} s. {tasks} tasks ran; by role:\n\n{table}"
    )
    score = Score("ansible.no-op", theirs / ours, GOAL, f"{ours:.1f} s", f"{theirs:.1f} s")
    return conclude("ansible", "Provisioning", method, [score])


def described(inventory: Path, folder: Path) -> Path:
    """The inventory with the wheels named."""
    wheelhouse = folder / "wheelhouse"
    subprocess.run([HOUSE / "scripts/wheelhouse.sh", wheelhouse, "aarch64"], check=True)
    document = json.loads(inventory.read_text().partition("\n")[2])  # after a comment; JSON is YAML
    document["virtual"]["vars"] |= {"openvino_wheelhouse": str(wheelhouse), "monitoring_enabled": True}
    path = folder / "fleet.yml"
    path.write_text(json.dumps(document))
    return path


def shipped() -> dict[str, str]:
    """Settings as a user of the repository has them."""
    return {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg")}


def defaults(folder: Path) -> dict[str, str]:
    """Ansible's own settings, and where roles and filters are."""
    (folder / "empty.cfg").write_text("[defaults]\n")
    return {
        "ANSIBLE_CONFIG": str(folder / "empty.cfg"),
        "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"),
        "ANSIBLE_COLLECTIONS_PATH": str(ANSIBLE / ".collections"),
    }


def profiled(folder: Path) -> dict[str, str]:
    """Settings that write how long each task took."""
    return {"ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit", "JUNIT_OUTPUT_DIR": str(folder / "junit")}


def play(inventory: Path, settings: Mapping[str, str], *, expect_no_change: bool = True) -> float:
    """Seconds that the playbook takes."""
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "provision-pi.yml"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ANSIBLE, env=os.environ | settings, capture_output=True, text=True, check=False)
    took_s = time.perf_counter() - began
    if done.returncode or (expect_no_change and "changed=0" not in done.stdout):
        raise SystemExit(done.stdout + done.stderr)
    print(f"{took_s:.1f} s", file=sys.stderr)
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
