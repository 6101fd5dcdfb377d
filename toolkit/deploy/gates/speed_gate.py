"""The speed gate: is a release as fast as earlier measurements on that device? A short check; nothing is recorded.

It compares with the newest valid single-stream record of that device and accelerator, preferring one of the same bundle, then
of the same variant of an earlier model (by name), then of the current release, and a full record to a quick one. The check
uses the record's images, if the device still has them, and its clock, threads, streams and precision.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.fleet import Device
from toolkit.deploy.compatibility import bundle_manifest
from toolkit.deploy.gates.gate import GateContext
from toolkit.deploy.gates.health import failure
from toolkit.device.percentiles import MIN_QUERIES
from toolkit.errors import FleetError
from toolkit.stats.intervals import percentile
from toolkit.store import Store

SECONDS = 2.0
QUERIES = MIN_QUERIES[90]
_SAME = ("clock", "threads", "streams", "precision", "accelerator")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedBaseline:
    """An earlier measurement of a device that a release is compared with."""

    device: str
    bundle: str
    name: str
    p90_ms: float
    quick: bool
    at: str
    images: str
    settings: Mapping[str, Any]


class SpeedGate:
    """Requires at least `share` of the measured speed."""

    name = "speed"
    after_switch = False

    def __init__(self, share: float, yardsticks: Iterable[SpeedBaseline]) -> None:
        self._share = share
        self._known: dict[str, list[SpeedBaseline]] = defaultdict(list)
        for each in yardsticks:
            self._known[each.device].append(each)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def describe(self, device: Device) -> str:
        """See Gate."""
        if not self._known[device.name]:
            return "no earlier measurement on the device to compare with"
        return f"answer for {SECONDS:g} s, at least at {self._share:.0%} of the speed that was measured there"

    def measurement(self, context: GateContext) -> dict[str, Any]:
        """See DeviceGate."""
        baseline = self._baseline(context)
        if baseline is None:
            return {"run": None}
        settings = {name: baseline.settings.get(name) for name in _SAME} | {"seconds": SECONDS, "queries": QUERIES}
        return {"run": "speed", "images": baseline.images, "options": settings}

    @contextmanager
    def turn(self, context: GateContext) -> Iterator[None]:
        """See TurnGate: devices on one machine take turns, so that they do not slow each other down."""
        boot = context.shell.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()
        with self._locks[boot or context.device.name]:
            yield

    def check(self, context: GateContext) -> str:
        """See Gate."""
        baseline = self._baseline(context)
        if baseline is None:
            return "no record to compare with"
        if context.result.get("missing"):
            return "the images of its record no longer exist: not measured"
        return compare(context.device, _p90(context.device, context.result), baseline, self._share)

    def _baseline(self, context: GateContext) -> SpeedBaseline | None:
        assert context.tree is not None  # noqa: S101 - a rollback has no speed gate
        name = str(bundle_manifest(context.tree)["name"])
        known = self._known[context.device.name]
        known = [each for each in known if each.settings["accelerator"] == context.device.accelerator]
        return choose_baseline(known, context.tree.parent, name, context.replaced)


def load_baselines(store: Store) -> tuple[SpeedBaseline, ...]:
    """Return all measurements in the store that a release can be compared with, oldest first."""
    records = sorted(store.all(BenchRecord), key=lambda record: record.at)
    return tuple(result for record in records if (result := _baseline_of(record)) is not None)


def choose_baseline(
    known: Sequence[SpeedBaseline], bundle: str, name: str, replaced: str | None
) -> SpeedBaseline | None:
    """Return the best baseline of a bundle: its own, else one of the same name, else that of the bundle it replaces."""
    for candidates in (
        [each for each in known if each.bundle == bundle],
        [each for each in known if each.name == name],
        [each for each in known if each.bundle == replaced],
    ):
        full = [each for each in candidates if not each.quick]
        if candidates:
            return (full or candidates)[-1]
    return None


def compare(device: Device, p90_ms: float, baseline: SpeedBaseline, share: float) -> str:
    """Return the result as a message.

    Raises:
        FleetError: slower than it may be.
    """
    kind = "quick record" if baseline.quick else "record"
    result = f"p90 {p90_ms:.2f} ms, {baseline.p90_ms / p90_ms:.0%} of the speed in {baseline.name}'s {kind} of {baseline.at[:10]}"
    if baseline.p90_ms < share * p90_ms:
        raise FleetError(
            f"slower than its gate: {result}; at least {share:.0%} is required",
            where=device.name,
            remedy="see whether the device throttles or is busy (toolkit bench), or lower --min-speed",
        )
    return result


def _baseline_of(record: BenchRecord) -> SpeedBaseline | None:
    """Return a record's baseline; None if it is not valid or not of latency."""
    p90_ms = percentile(record.samples_ms, 90) if record.scenario == "single-stream" else None
    if p90_ms is None or record.broken_rules:
        return None
    return SpeedBaseline(
        device=record.device,
        bundle=record.parent,
        name=str(record.facts.get("name", "")),
        p90_ms=p90_ms,
        quick=record.quick,
        at=record.at,
        images=str(record.facts.get("image_set", "")),
        settings=dict(record.settings),
    )


def _p90(device: Device, result: Mapping[str, Any]) -> float:
    """Return the 90th percentile in ms of what the device measured.

    Raises:
        FleetError: it could not measure; says why.
    """
    if not result.get("ok"):
        raise failure(device, result, "no answer", "the speed could not be measured", "")
    samples = result.get("samples_ms")
    numbers = [each for each in samples if isinstance(each, int | float)] if isinstance(samples, list) else []
    p90_ms = percentile(numbers, 90)
    if not p90_ms:
        raise FleetError("the speed could not be measured: too few samples", where=device.name)
    return p90_ms
