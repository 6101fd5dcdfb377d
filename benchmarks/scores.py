"""What every benchmark here does with its result: a line each on stdout, a table in docs/performance.md, an exit code.

`just bench NAME` runs benchmarks/NAME.py. A score is a ratio, ours against a yardstick measured in the same run, so that
it means the same on any machine; 1 is as good as the yardstick, and more is better.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PERFORMANCE = Path(__file__).parents[1] / "docs" / "performance.md"
LOAD_BEFORE = os.getloadavg()[0]
"""How busy the machine was before the benchmark began; on a quiet one it is near 0."""


@dataclass(frozen=True, slots=True)
class Score:
    """One figure against its goal; `ours` and `theirs` are for people, with their units."""

    name: str
    ratio: float
    goal: float
    ours: str
    theirs: str

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        return "ok" if self.ratio >= self.goal else "short"


def conclude(benchmark: str, title: str, method: str, scores: Sequence[Score], *, keep: bool = True) -> int:
    """Print the scores, keep them in docs/performance.md, and give the exit code: 1 if one is short."""
    for score in scores:
        print(f"{score.name} {score.ratio:.3f} {score.goal:.2f} {score.verdict}")
    if keep:
        _keep(benchmark, _section(title, method, scores))
    return int(any(score.verdict == "short" for score in scores))


def _section(title: str, method: str, scores: Sequence[Score]) -> str:
    rows = "\n".join(
        f"| {score.name} | {score.ours} | {score.theirs} | {score.ratio:.3f} | {score.goal:.2f} | {score.verdict} |"
        for score in scores
    )
    return (
        f"## {title}\n\n{method}\n\n"
        "| figure | ours | yardstick | ratio | goal | verdict |\n|---|---|---|---|---|---|\n"
        f"{rows}\n\n{datetime.now(UTC):%Y-%m-%d}, {machine()}.\n"
    )


def machine() -> str:
    """The machine in a few words, and what else it was doing."""
    actual = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    name = actual.group(1) if actual else platform.machine()
    cores = len(os.sched_getaffinity(0))
    versions = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{name}, {cores} cores, {versions}; load average {LOAD_BEFORE:.1f} before it began"


def _keep(benchmark: str, section: str) -> None:
    """Replace this benchmark's part of the page, or add it at the end."""
    begin, end = f"<!-- begin {benchmark} -->", f"<!-- end {benchmark} -->"
    page = PERFORMANCE.read_text(encoding="utf-8")
    before, marker, rest = page.partition(begin)
    after = rest.partition(end)[2] if marker else "\n"
    head = before if marker else before.rstrip("\n") + "\n\n"
    PERFORMANCE.write_text(f"{head}{begin}\n{section}{end}{after}", encoding="utf-8")
