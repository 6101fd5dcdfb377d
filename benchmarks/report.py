"""How long a report takes, and how large its page is, as records grow: a made-up fleet in a workspace of its own.

The yardstick is the goal itself: 10,000 records in 10 s, and a page below 1 MB.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import resource
import sys
import tempfile
import time
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scores import Score, conclude

from tests.report import conftest as made_up
from toolkit.artifacts.bench import BenchRecord
from toolkit.experiment.schema import Experiment
from toolkit.report import write_report
from toolkit.store import Store
from toolkit.workspace import Workspace

SECONDS, PAGE_BYTES = 10.0, 1_000_000
RUNS = 4
"""Of each bundle and scenario on each device."""
METHOD = (
    "`just bench report`: 16 converted models on a fleet of made-up devices, four runs of each scenario, full runs of 1,100 "
    "queries; from an empty folder to the last file, raw records included. again: the same with nothing changed. Seconds are "
    "those of the processor, of all threads, in which other programs do not count. page: index.html. The yardstick is the goal."
)


def fill(workspace: Workspace, store: Store, count: int) -> int:
    """Store `count` records, about; returns how many."""
    vars(made_up)["DEVICES"] = ("pi-1",)
    made_up.fill(workspace, store)
    models = store.all(BenchRecord)
    chooser = random.Random(1)
    devices = max(1, count // (len(models) * RUNS))
    for number in range(devices * RUNS):
        device, run = divmod(number, RUNS)
        for record in models:
            store.put(made_run(record, device, run, chooser))
    return len(models) * (1 + devices * RUNS)


def made_run(record: BenchRecord, device: int, run: int, chooser: random.Random) -> BenchRecord:
    """A full run like `record` on another device."""
    each = [5 * chooser.lognormvariate(0, 0.05) for _ in range(1100)]
    samples = {"single-stream": each, "offline": list(accumulate(each)), "accuracy": []}[record.scenario]
    return dataclasses.replace(
        record,
        digest=f"{chooser.getrandbits(256):064x}",
        device=f"pi-{device:04}",
        samples_ms=tuple(samples),
        wall_s=sum(each) / 1000,
        quick=False,
        at=f"2026-11-{10 + run}T10:{device % 60:02}:00+00:00",
    )


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--no-keep", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args()
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # of the development tools; with it, jsonschema takes 5 s to import
    experiment = Experiment.model_validate(made_up.EXPERIMENT)
    with tempfile.TemporaryDirectory(prefix="report-benchmark-") as folder:
        workspace = Workspace(Path(folder))
        with Store(workspace.database) as store:
            count = fill(workspace, store, options.records)
            seconds, clock = [], []
            for _ in range(2):
                began, began_at = time.process_time(), time.monotonic()
                report = write_report(workspace, store, experiment=experiment)
                seconds.append(time.process_time() - began)
                clock.append(time.monotonic() - began_at)
            page = report.index.stat().st_size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    goal_s = SECONDS * max(count / 10_000, 0.4)
    return conclude(
        "report",
        f"The report of {count:,} records",
        f"{METHOD} By the clock {clock[0]:.0f} s and {clock[1]:.0f} s. Peak memory of the process: {memory:,.0f} MiB.",
        [
            Score("report.seconds", goal_s / seconds[0], 1.0, f"{seconds[0]:.1f} s", f"{goal_s:.1f} s"),
            Score("report.again", goal_s / seconds[1], 1.0, f"{seconds[1]:.1f} s", f"{goal_s:.1f} s"),
            Score("report.page", PAGE_BYTES / page, 1.0, f"{page / 1e6:.2f} MB", f"{PAGE_BYTES / 1e6:.2f} MB"),
        ],
        keep=not options.no_keep,
    )


if __name__ == "__main__":
    sys.exit(main())
