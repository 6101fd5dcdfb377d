"""One measurement of `scale.py`, in a process of its own.

    python benchmarks/scale_step.py records|images|classes|devices SIZE FOLDER

prints {"seconds", "mebibytes"} as JSON: processor seconds, of child processes too, and the growth of the peak memory.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np

BUNDLES, LABELS, IMAGES = 100, ("a", "b", "c", "d"), 10_000


def records(size: int, folder: Path) -> Callable[[], object]:
    """Store every bench record once, and read it once, by its bundle."""
    from toolkit.artifacts.bench import BenchRecord
    from toolkit.store import Store

    def record(number: int) -> BenchRecord:
        return BenchRecord(
            digest=f"{number:064x}",
            parent=f"bundle-{number % BUNDLES}",
            device=f"pi-{number % 997:03}",
            scenario="single-stream",
            accelerator="CPU",
            samples_ms=(5.0,) * 64,
            wall_s=0.32,
            quick=False,
            broken_rules=(),
            accuracy=None,
            correct=None,
            images=160,
            facts={"model": "Raspberry Pi 5"},
            settings={"threads": 4},
            at="2026-11-30T10:00:00+00:00",
        )

    def work() -> None:
        with Store(folder / "toolkit.db") as store:
            for number in range(size):
                store.put(record(number))
            for bundle in range(BUNDLES):
                store.all(BenchRecord, parent=f"bundle-{bundle}")

    return work


def images(size: int, folder: Path) -> Callable[[], object]:
    """List, check and split small images, and write the manifest."""
    from toolkit.data import prepare_dataset
    from toolkit.experiment.schema import DataConfig
    from toolkit.progress import Silent
    from toolkit.workspace import Workspace

    draw = np.random.default_rng(0)
    for label in LABELS:
        (folder / "images" / label).mkdir(parents=True)
    for number in range(size):
        content = cv2.imencode(".png", draw.integers(0, 256, (16, 16, 3), dtype=np.uint8))[1].tobytes()
        (folder / "images" / LABELS[number % len(LABELS)] / f"{number}.png").write_bytes(content)
    table = DataConfig(source="folders", path=folder / "images")
    return lambda: prepare_dataset(table, folder / "experiment.toml", Workspace(folder / "workspace"), Silent())


def classes(size: int, folder: Path) -> Callable[[], object]:
    """Evaluate the answers to the same number of images."""
    from toolkit.train.metrics import dispatch

    del folder
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(IMAGES, size)).astype(np.float32), draw.integers(0, size, IMAGES)
    names = [f"class-{number}" for number in range(size)]
    return lambda: dispatch.evaluate(logits, labels, names, "test")


def devices(size: int, folder: Path) -> Callable[[], object]:
    """Read an inventory, the status of every device in it, and plan a rollout to all; the devices are simulated."""
    import fleet_ground
    from fleet_simulated import SimulatedShell

    from toolkit import fleet
    from toolkit.artifacts.fleet import Device
    from toolkit.deploy import plan_rollout, status
    from toolkit.fleet.inventory.load import load_inventory

    class Instant(SimulatedShell):
        """Answers without delay."""

        def _travel(self) -> None:
            pass

    @contextmanager
    def connect(device: Device) -> Iterator[SimulatedShell]:
        yield Instant(device, {})

    fleet.connect = connect
    bundle = fleet_ground.make_bundle(folder / "bundles", 1)
    inventory = folder / "fleet.yml"
    hosts = "".join(f"    device-{number:05}: {{}}\n" for number in range(size))
    children = "".join(
        f"    room-{number}:\n      hosts: {{device-{number:05}: }}\n" for number in range(min(size, 10))
    )
    inventory.write_text(f"all:\n  hosts:\n{hosts}  children:\n{children}", encoding="utf-8")

    def work() -> None:
        listed = load_inventory(inventory)
        status(listed)
        plans = plan_rollout(bundle, listed)
        if len(plans.ok) != size:
            sys.exit(str(next(iter(plans.failed.values()))))

    return work


def _seconds() -> float:
    """Processor seconds so far."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _peak_mib() -> float:
    """The peak memory since it was reset. Not ru_maxrss, which starts at the size of the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main(subject: str, size: str, folder: str) -> None:
    """Prepare, measure, print."""
    work = {"records": records, "images": images, "classes": classes, "devices": devices}[subject](
        int(size), Path(folder)
    )
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what is used now
    seconds, memory = _seconds(), _peak_mib()
    work()
    print(json.dumps({"seconds": _seconds() - seconds, "mebibytes": _peak_mib() - memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
