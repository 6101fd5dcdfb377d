"""Regressions: whether a model became slower on a device, and what changed since."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from toolkit.analysis.comparability import SPEEDS, ComparisonKey, batch_means_ms, fact_text, key_of, middle_ms
from toolkit.artifacts.bench import BenchRecord
from toolkit.stats.rank_tests import MIN_SAMPLES, holm, mann_whitney, modified_z_score

ALPHA = 0.01
"""Probability of any false alarm among all comparisons of one call."""
LEAST_SHIFT = 0.05
"""Minimum relative change of the time per image, however significant."""
FAR = 3.5
"""Deviation, in spreads, from which a change counts (see stats.rank_tests)."""
ENOUGH_RUNS = 3
"""Earlier runs needed to estimate the variation between runs."""
REMEMBERED = 5
"""Earlier runs used as the baseline, newest first."""

Change = Literal["slower", "faster", "same"]
CAUSES: Mapping[str, tuple[str, ...]] = {
    "OpenVINO": ("openvino",),
    "kernel": ("kernel",),
    "Python": ("python",),
    "governor": ("governor",),
    "device code": ("device_code",),
    "system": ("os",),
    "USB speed": ("usb_mbit",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """The newest record of one kind on one device, compared with earlier ones."""

    device: str
    kind: ComparisonKey
    newest: BenchRecord
    earlier: tuple[BenchRecord, ...]
    """Oldest first; at most REMEMBERED."""
    before_ms: float
    """The median time per image of the earlier runs together."""
    now_ms: float
    p_value: float
    """p-value of the Mann-Whitney U test on batch means, Holm-adjusted over all comparisons."""
    within_spread: bool
    """Whether earlier runs differ as much among themselves."""
    changed: tuple[str, ...]
    """Other changes, such as "OpenVINO 2025.2 → 2026.4"."""

    @property
    def shift(self) -> float:
        """The fraction by which the time per image grew from `before_ms` to `now_ms`; negative: it fell."""
        return self.now_ms / self.before_ms - 1

    @property
    def change(self) -> Change:
        """Return the verdict: significant, relevant, and larger than the variation between runs."""
        if self.p_value >= ALPHA or abs(self.shift) < LEAST_SHIFT or self.within_spread:
            return "same"
        return "slower" if self.shift > 0 else "faster"


def detect_regressions(records: Sequence[BenchRecord], names: Mapping[str, str]) -> tuple[Regression, ...]:
    """Return a comparison for each device and kind with several valid runs; `names` maps bundles to names."""
    made = [comparison for runs in _series(records, names) if (comparison := _compare(runs, names))]
    adjusted = holm({number: comparison.p_value for number, comparison in enumerate(made)}) if made else {}
    return tuple(replace(comparison, p_value=adjusted[number]) for number, comparison in enumerate(made))


def _series(records: Sequence[BenchRecord], names: Mapping[str, str]) -> Iterator[list[BenchRecord]]:
    """Yield the valid runs of each device and kind, oldest first."""
    series: dict[tuple[str, ComparisonKey], list[BenchRecord]] = {}
    for record in sorted(records, key=lambda record: record.at):
        if record.scenario in SPEEDS and not record.broken_rules and record.parent in names:
            series.setdefault((record.device, key_of(record, names[record.parent])), []).append(record)
    yield from (series[key] for key in sorted(series))


def _compare(runs: Sequence[BenchRecord], names: Mapping[str, str]) -> Regression | None:
    *before, newest = runs
    earlier = tuple(before[-REMEMBERED:])
    now, past = batch_means_ms(newest), [mean for record in earlier for mean in batch_means_ms(record)]
    if min(len(now), len(past)) < MIN_SAMPLES:
        return None
    return Regression(
        device=newest.device,
        kind=key_of(newest, names[newest.parent]),
        newest=newest,
        earlier=earlier,
        before_ms=statistics.median(past),
        now_ms=statistics.median(now),
        p_value=mann_whitney(now, past)[1],
        within_spread=_within_spread(newest, earlier),
        changed=tuple(_changes(earlier[-1], newest)),
    )


def _within_spread(newest: BenchRecord, earlier: Sequence[BenchRecord]) -> bool:
    """Return whether the newest run is within the spread of the earlier ones; batches only show the spread within a run."""
    middles = [middle for record in earlier if (middle := middle_ms(record)) is not None]
    now = middle_ms(newest)
    return len(middles) >= ENOUGH_RUNS and now is not None and abs(modified_z_score(now, middles)) < FAR


def _changes(last: BenchRecord, newest: BenchRecord) -> Iterator[str]:
    """Yield possible causes: another bundle, other versions, another governor."""
    if last.parent != newest.parent:
        yield f"bundle {last.parent[:12]} → {newest.parent[:12]}"
    for title, path in CAUSES.items():
        was, is_ = fact_text(last, *path), fact_text(newest, *path)
        if was != is_:
            yield f"{title} {_short(was)} → {_short(is_)}"
    cores = [fact_text(record, "cores") or "unknown" for record in (last, newest)]
    if cores[0] != cores[1]:
        yield f"{cores[0]} → {cores[1]} cores"


def _short(value: str) -> str:
    """A version without its build, a digest without its tail."""
    return (value.partition("-")[0][:24] or "not known") if value else "not known"
