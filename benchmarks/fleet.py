"""A rollout over SSH against Ansible's copy module: how long, at what cost here, and how that grows with the fleet.

`just bench fleet [--devices 300] [--simulated 1000] [--forks 16]`. Each run is a process of its own, timed from its start to its
end, its children's processor time counted, those that leave it as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fleet_chart
import fleet_ground
from fleet_ground import Ground
from scores import Score, conclude

from toolkit.fleet.inventory.ansible import ansible_command

HERE = Path(__file__).parent
METHOD = (
    "`just bench fleet`, in one run: {devices} devices behind one OpenSSH server on loopback, each with its own "
    "address, name and folder in memory, {forks} at once. Ours: reading the inventory, status, probe, transfer of a "
    "{size:.1f} MB bundle and the device code, verification of every byte there, lock, switch and audit. There are no "
    "golden images, and every probe is answered with the facts of one real probe, because no fleet has this machine's "
    "processor. Theirs: ansible.builtin.copy of one file of the same size, with pipelining and persistent "
    "connections. cpu: processor time of the controller and its child processes, without the servers, because a fleet "
    "shares no cores with its controller. unchanged: "
    "the same rollout again; bytes are those on the wire in both directions, including the handshake. head: another "
    "bundle with the same backbone and images. memory: the peak of the process. simulated: {simulated:,} devices in "
    "memory, planned and run by the same code; each command takes 20 to 60 ms; of twenty devices one is unreachable, "
    "one is cut off during the transfer and one refuses. ssh alone: OpenSSH's own client sends a file of the same "
    "size to `cat` on each device, and nothing is checked or switched. This machine runs both ends, so {floor:.1f} s "
    "of the rollout's {own:.1f} s are the cost of SSH itself, and no rollout could be more than {most:.1f} times as "
    "fast as Ansible's copy here."
)
ANSIBLE, SSH, OURS = "Ansible's copy", "ssh alone", "toolkit deploy"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took."""

    seconds: float
    cpu_s: float
    result: dict[str, Any]


def timed(argv: Sequence[str], environment: dict[str, str] | None = None) -> Cost:
    """Run it to its end, and what it left behind as well."""
    program = [sys.executable, str(HERE / "fleet_cost.py"), *argv]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv[:5])}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    cost = json.loads(done.stdout)
    output = cost["stdout"]
    return Cost(cost["seconds"], cost["cpu_s"], json.loads(output) if output.startswith("{") else {})


def ours(ground: Ground, bundle: Path, count: int, forks: int) -> Cost:
    """One deployment to so many devices."""
    argv = [sys.executable, str(HERE / "fleet_step.py"), str(bundle), str(ground.inventory(count)), str(forks)]
    return timed(argv)


def theirs(ground: Ground, file: Path, count: int, forks: int) -> Cost:
    """The copy module alone, of one file."""
    (ground.home / "ansible.cfg").touch()  # no settings but these
    settings = {
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(ground.home / "cp"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_CONFIG": str(ground.home / "ansible.cfg"),
    }
    arguments = f"src={file} dest={{{{ toolkit_root }}}}.tar"
    argv = [*ansible_command("adhoc"), "all", "-i", str(ground.inventory(count)), "-f", str(forks)]
    return timed([*argv, "-m", "ansible.builtin.copy", "-a", arguments], os.environ | settings)


def alone(ground: Ground, file: Path, count: int, forks: int) -> Cost:
    """OpenSSH's client and `cat`: what any tool that sends so many bytes over SSH has to pay."""
    options = (
        f"-F none -i {ground.home}/client -o UserKnownHostsFile={ground.home}/known_hosts -o StrictHostKeyChecking=yes"
    )
    send = f'ssh {options} -p {ground.port} {{}} "cat >{ground.devices}/{{}}.tar" <{file}'
    addresses = " ".join(map(fleet_ground.address, range(1, count + 1)))
    return timed(["sh", "-c", f"printf '%s\\n' {addresses} | xargs -P {forks} -I{{}} sh -c '{send}'"])


def measure(ground: Ground, sizes: Sequence[int], forks: int) -> tuple[list[Score], list[fleet_chart.Point]]:
    """Every figure over SSH."""
    bundle, head = (fleet_ground.make_bundle(ground.home / "bundles", number) for number in (1, 2))
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    file = ground.home / "bundle.tar"
    file.write_bytes(os.urandom(size))
    points, most = [], sizes[-1]
    for count in sizes:
        ground.clear()
        floor = alone(ground, file, count, forks)
        ground.clear()
        other = theirs(ground, file, count, forks)
        ground.clear()
        own = ours(ground, bundle, count, forks)
        costs = {ANSIBLE: other, OURS: own, SSH: floor}
        points += [fleet_chart.Point(name, count, cost.seconds, cost.cpu_s) for name, cost in costs.items()]
        each = (f"{name} {cost.seconds:.1f} s, {cost.cpu_s:.1f} s CPU" for name, cost in costs.items())
        print(f"{count}: {'; '.join(each)}", flush=True)
    again, retrained = ours(ground, bundle, most, forks), ours(ground, head, most, forks)
    if again.result["outcomes"] != ["unchanged"]:
        raise SystemExit(f"the second run did something: {again.result}")
    wire = (again.result["sent"] + again.result["received"]) / most
    return [
        Score("fleet.time", other.seconds / own.seconds, 4, f"{own.seconds:.1f} s", f"{other.seconds:.1f} s"),
        Score("fleet.cpu", other.cpu_s / own.cpu_s, 6, f"{own.cpu_s:.1f} s", f"{other.cpu_s:.1f} s"),
        Score("fleet.unchanged-bytes", 10_000 / wire, 1, f"{wire:,.0f} B a device", "10,000 B"),
        _limit("fleet.unchanged-cpu", again.cpu_s / most, 0.1, "s a device"),
        _limit("fleet.head", retrained.result["sent"] / most / size, 0.15, "of the bundle's bytes"),
        _limit("fleet.memory", max(own.result["peak_bytes"], retrained.result["peak_bytes"]) / 1e6, 300, "MB"),
    ], points


def _limit(name: str, actual: float, most: float, unit: str) -> Score:
    return Score(name, most / actual, 1, f"{actual:.3g} {unit}", f"{most:g}")


def simulated(bundle: Path, count: int) -> Score:
    """A thousand devices that are not there."""
    cost = timed([sys.executable, str(HERE / "fleet_simulated.py"), str(bundle), str(count)])
    outcomes = ", ".join(f"{number} {outcome}" for outcome, number in sorted(cost.result["outcomes"].items()))
    return Score("fleet.simulated", 60 / cost.seconds, 1, f"{cost.seconds:.1f} s: {outcomes}", "60 s")


def main() -> int:
    """Measure, keep the scores and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--simulated", type=int, default=1000)
    parser.add_argument("--forks", type=int, default=16)
    parser.add_argument("--no-keep", action="store_true", help="print, and leave the docs alone")
    options = parser.parse_args()
    sizes = sorted({size for size in (10, 30, 100) if size < options.devices} | {options.devices})
    shelf = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="bench-fleet-", dir=shelf) as folder:
        home = Path(folder)
        with fleet_ground.served(home, options.devices) as ground:
            scores, points = measure(ground, sizes, options.forks)
        (bundle, *_) = sorted((home / "bundles").iterdir())
        size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        scores.append(simulated(bundle, options.simulated))
    seconds = {point.contender: point.seconds for point in points}  # of the largest fleet, which comes last
    method = METHOD.format(
        devices=options.devices,
        forks=options.forks,
        size=size / 1e6,
        simulated=options.simulated,
        floor=seconds[SSH],
        own=seconds[OURS],
        most=seconds[ANSIBLE] / seconds[SSH],
    )
    if not options.no_keep:
        method += "\n\n" + fleet_chart.draw(points)
    return conclude("fleet", "Rollout over SSH", method, scores, keep=not options.no_keep)


if __name__ == "__main__":
    sys.exit(main())
