"""Outliers: devices that are slower than similar devices with the same model, and possible causes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from toolkit.analysis.comparability import (
    SPEEDS,
    ComparisonKey,
    device_class,
    fact_text,
    fact_value,
    key_of,
    middle_ms,
    reading,
)
from toolkit.artifacts.bench import BenchRecord
from toolkit.device.runtime.accelerators import REMOVABLE
from toolkit.stats.rank_tests import modified_z_score

FAR = 3.5
"""Limit of `rank_tests.modified_z_score`."""
LEAST_GAP = 0.10
"""Minimum relative difference of an outlier, however similar the others are."""
FEWEST = 3
"""With fewer devices, there is no telling which one is the outlier."""
LEAST_SPREAD = 0.03
"""Lower bound of the spread, relative to the median: few devices can agree more closely by chance."""
HOTTER_C = 10.0
BUSIER = 1.0
"""Difference in load average that counts as a cause: additional runnable processes."""
SLOWER_CLOCK = 0.95
THROTTLED = "throttled"
SAME_MACHINE = "several devices share this machine: a slow moment, not a slow device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A device that differs from similar ones."""

    device: str
    kind: ComparisonKey
    alike: tuple[str, str, str]
    """Board, processor and cores of the devices it is compared with."""
    record: BenchRecord
    peers: tuple[BenchRecord, ...]
    """Valid records of the other devices."""
    now_ms: float
    usual_ms: float
    modified_z_score: float
    """In spreads of the others; infinite if they are all equal."""
    causes: tuple[str, ...]
    """Possible causes from the records."""

    @property
    def gap(self) -> float:
        """The fraction by which its time per image is above the others' median; negative: it is faster."""
        return self.now_ms / self.usual_ms - 1


def find_outliers(records: Sequence[BenchRecord], names: Mapping[str, str]) -> tuple[Outlier, ...]:
    """Return the outliers, the slowest first; a throttled run is compared, but never part of the baseline."""
    outliers = [one for group in _groups(records, names) for one in _apart(group, names)]
    return tuple(sorted(outliers, key=lambda one: (-one.gap, one.device, one.kind)))


def _groups(records: Sequence[BenchRecord], names: Mapping[str, str]) -> Iterator[list[BenchRecord]]:
    """The newest usable record of each device, by bundle, kind and class of device."""
    groups: dict[tuple[str, ComparisonKey, tuple[str, str, str]], dict[str, BenchRecord]] = {}
    for record in sorted(records, key=lambda record: record.at):
        usable = set(record.broken_rules) <= {THROTTLED}
        if record.scenario in SPEEDS and record.parent in names and usable and middle_ms(record) is not None:
            key = record.parent, key_of(record, names[record.parent]), device_class(record)
            groups.setdefault(key, {})[record.device] = record
    yield from (list(groups[key].values()) for key in sorted(groups))


def _apart(group: Sequence[BenchRecord], names: Mapping[str, str]) -> Iterator[Outlier]:
    middles = {record.device: middle for record in group if (middle := middle_ms(record)) is not None}
    sound = [record for record in group if not record.broken_rules]
    for record in group:
        peers = tuple(peer for peer in sound if peer is not record)
        if len(peers) < FEWEST - 1:
            continue
        others = [middles[peer.device] for peer in peers]
        usual, now = statistics.median(others), middles[record.device]
        far = modified_z_score(now, others, LEAST_SPREAD * usual)
        if abs(far) >= FAR and abs(now / usual - 1) >= LEAST_GAP:
            yield Outlier(
                device=record.device,
                kind=key_of(record, names[record.parent]),
                alike=device_class(record),
                record=record,
                peers=peers,
                now_ms=now,
                usual_ms=usual,
                modified_z_score=far,
                causes=tuple(causes(record, peers)),
            )


READINGS: tuple[tuple[str, str, Callable[[float, float], bool]], ...] = (
    ("temperature_c", "{:.0f} °C, the others {:.0f} °C", lambda own, usual: own >= usual + HOTTER_C),
    (
        "clock_mhz",
        "its clock at {:,.0f} MHz, the others' at {:,.0f} MHz",
        lambda own, usual: own < SLOWER_CLOCK * usual,
    ),
    ("usb_mbit", f"{REMOVABLE.short} at {{:,.0f}} Mbit/s, the others' at {{:,.0f}}", lambda own, usual: own < usual),
    ("load_1min", "load {:.1f}, the others {:.1f}", lambda own, usual: own >= usual + BUSIER),
)
"""Readings that may explain an outlier: format and condition of each."""


def causes(record: BenchRecord, peers: Sequence[BenchRecord]) -> Iterator[str]:
    """Yield possible causes from the record itself, the firmware's first."""
    if THROTTLED in record.broken_rules:
        yield f"throttled: the firmware says {_bits(record)}"
    for name, text, differs in READINGS:
        own = reading(record, name)
        usual = [value for peer in peers if (value := reading(peer, name)) is not None]
        if own is not None and usual and differs(own, statistics.median(usual)):
            yield text.format(own, statistics.median(usual))
    if fact_text(record, "boot_id") and fact_text(record, "boot_id") in {fact_text(peer, "boot_id") for peer in peers}:
        yield SAME_MACHINE
    for title, name in (("governor", "governor"), ("OpenVINO", "openvino"), ("kernel", "kernel"), ("Python", "python")):
        common = statistics.mode(fact_text(peer, name) for peer in peers)
        if fact_text(record, name) != common:
            yield f"{title} {fact_text(record, name) or 'not known'}, the others {common or 'not known'}"


def _bits(record: BenchRecord) -> str:
    """Return the result of vcgencmd get_throttled at the end of the run."""
    bits = fact_value(record, "environment", "after", "throttled")
    return f"{bits:#x}" if isinstance(bits, int) else "so"
