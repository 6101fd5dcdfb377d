"""The rules that a record breaks. Pure. Such a record is stored, and excluded from all comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from toolkit.bench.plan import BenchTarget
from toolkit.device.bench.spec import ACCURACY, OFFLINE, SINGLE_STREAM
from toolkit.device.runtime.accelerators import kind_of

Record = Mapping[str, Any]
"""The device code's JSON."""

RULES: Mapping[str, str] = {
    "facts-missing": "the record lacks a fact that is needed to compare runs (rule 9)",
    "other-bundle": "the device measured other files than the requested ones",
    "other-accelerator": "the device used another accelerator than the requested one",
    "limits-not-reached": "the run ended before the requested time or number of queries",
    "samples-impossible": "the samples do not fit into the run's own length",
    "throttled": "the firmware throttled the processor, during the run or already when it began (rule 10)",
    "outputs-not-compared": "there is no accuracy pass on the same images to compare the answers with (rule 5)",
    "outputs-differ": "answers logged during the speed run differ from those of the accuracy pass (rule 5)",
    "accuracy-below-reference": "less than 99 % of the accuracy before conversion, on the same images (rule 6)",
}

ACCURACY_SHARE = 0.99
NEEDED = (
    ("facts", ("machine", "kernel", "openvino", "python", "cores")),
    ("used", ("accelerator", "precision")),
    ("settings", ("seed", "clock")),
    ("order", ("method", "sha256")),
)
"""What must be there and not null. The governor and the clock are recorded as the device gives them: a virtual machine
has neither."""

THROTTLED_NOW = 0xF
THROTTLED_SINCE_BOOT = 0xF0000


def broken_rules(record: Record, target: BenchTarget, accuracy: Record | None) -> tuple[str, ...]:
    """The names of the broken rules, in the order of `RULES`; `accuracy` is the same device's accuracy pass."""
    checks: Mapping[str, Callable[[], bool]] = {
        "facts-missing": lambda: any(_missing(record)),
        "other-bundle": lambda: record["bundle"] != target.bundle,
        "other-accelerator": lambda: record["used"].get("accelerator") != record["settings"]["accelerator"],
        "limits-not-reached": lambda: not _limits_reached(record),
        "samples-impossible": lambda: not _samples_possible(record),
        "throttled": lambda: throttled(*(record["environment"][when]["throttled"] for when in ("before", "after"))),
        "outputs-not-compared": lambda: not _comparable(record, accuracy),
        "outputs-differ": lambda: _outputs_differ(record, accuracy, target.tolerance),
        "accuracy-below-reference": lambda: _inaccurate(accuracy, target.reference_accuracy),
    }
    return tuple(name for name in RULES if checks[name]())


def _scenario(record: Record) -> str:
    return str(record["settings"]["scenario"])


def _missing(record: Record) -> Iterator[str]:
    for part, names in NEEDED:
        yield from (f"{part}.{name}" for name in names if record.get(part, {}).get(name) is None)


def _limits_reached(record: Record) -> bool:
    settings, queries = record["settings"], len(record["samples_ms"])
    if _scenario(record) == ACCURACY:
        return queries == int(record["images"]["count"])
    enough = _scenario(record) != SINGLE_STREAM or queries >= int(settings["queries"])
    return enough and float(record["wall_s"]) >= float(settings["seconds"])


def _samples_possible(record: Record) -> bool:
    """Latencies one after the other fit into the run; completion times ascend and end with it."""
    samples: list[float] = record["samples_ms"]
    wall_ms = 1000 * float(record["wall_s"])
    if not samples or not all(math.isfinite(sample) and sample >= 0 for sample in samples):
        return False
    if _scenario(record) == OFFLINE:
        return samples == sorted(samples) and samples[-1] <= wall_ms + 1e-6
    return math.fsum(samples) <= wall_ms + 1e-6


def throttled(before: int | None, after: int | None) -> bool:
    """Bits 0-3 set at either end, or bits 16-19 newly set: those count from boot. None: there is no such firmware."""
    first, last = before or 0, after or 0
    now = (first | last) & THROTTLED_NOW
    since = last & ~first & THROTTLED_SINCE_BOOT
    return bool(now or since)


def _comparable(record: Record, accuracy: Record | None) -> bool:
    """Whether there are logged answers, and an accuracy pass that logged answers to the same images."""
    if _scenario(record) == ACCURACY:
        return True
    if accuracy is None or accuracy["images"]["digest"] != record["images"]["digest"] or not record["logged"]:
        return False
    return {entry["image"] for entry in record["logged"]} <= {entry["image"] for entry in accuracy["logged"]}


def _outputs_differ(record: Record, accuracy: Record | None, tolerance: Mapping[str, float]) -> bool:
    """Equal within the bundle's tolerance for this accelerator: streams may sum in another order."""
    if _scenario(record) == ACCURACY or accuracy is None or not _comparable(record, accuracy):
        return False
    expected = {entry["image"]: entry["output"] for entry in accuracy["logged"]}
    limit = tolerance[kind_of(record["settings"]["accelerator"])]
    return not all(_equal(entry["output"], expected[entry["image"]], limit) for entry in record["logged"])


def _equal(answer: list[float], expected: list[float], limit: float) -> bool:
    return len(answer) == len(expected) and all(
        abs(one - other) <= limit for one, other in zip(answer, expected, strict=True)
    )


def _inaccurate(accuracy: Record | None, reference: float | None) -> bool:
    """Below the gate; so are the speed runs of a model whose accuracy pass is."""
    if accuracy is None or reference is None:
        return False
    return bool(accuracy.get("micro_f1", accuracy["accuracy"]) < ACCURACY_SHARE * reference)
