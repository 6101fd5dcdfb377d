"""Checks of the recommendation, and those based on regressions and outliers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from toolkit.analysis import outliers
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.data.variants import Variant

State = Literal["good", "warning", "bad", "none"]
STATES: tuple[State, ...] = ("good", "warning", "bad", "none")
"""From passed to failed; "none" was not checked."""


@dataclass(frozen=True, slots=True)
class TrustCheck:
    """One check: a reason to trust the figures, or not."""

    title: str
    state: State
    text: str


def past(report: ReportData) -> Iterator[TrustCheck]:
    """Check whether devices measured more than once became slower."""
    slower = [each for each in report.compared if each.change == "slower"]
    if slower:
        worst = max(slower, key=lambda each: each.shift)
        names = formatting.listed(sorted({each.device for each in slower})[:4])
        text = f"{formatting.count(len(slower), 'run')} of {len(report.compared)} took longer than before, on {names}; the most by {formatting.percent(worst.shift, 0)}."
        yield TrustCheck("Speed over time", "warning", text)
    elif report.compared:
        total = formatting.count(len(report.compared), "comparison")
        yield TrustCheck("Speed over time", "good", f"No device became slower, in {total} with earlier runs.")


def fleet(report: ReportData) -> Iterator[TrustCheck]:
    """Check for devices that are slower than similar ones, with possible causes."""
    slow: dict[str, list[str]] = {}
    apart = [each for each in report.outliers if each.gap > 0]
    for each in apart:
        slow.setdefault(each.device, []).extend(each.causes)
    if apart and all(outliers.SAME_MACHINE in each.causes for each in apart):
        most = formatting.percent(max(each.gap for each in apart), 0)
        text = f"The devices are one machine, which was slower at some moments than at others: {formatting.count(len(apart), 'run')} by up to {most}."
        yield TrustCheck("Fleet", "warning", text)
    elif slow:
        names = [f"{device} ({reasons[0]})" if reasons else device for device, reasons in sorted(slow.items())]
        more = f", and {len(names) - 3} more" if len(names) > 3 else ""
        yield TrustCheck("Fleet", "warning", f"Slower than similar devices in some runs: {'; '.join(names[:3])}{more}.")


def drift(report: ReportData, choice: Variant) -> Iterator[TrustCheck]:
    """Check whether the last deployments to the devices are of the recommended model."""
    if not report.last_deployments or choice.bundle is None:
        yield TrustCheck("Deployment", "none", "Not checked: nothing of this report was deployed.")
        return
    other = [deployment.device for deployment in report.last_deployments if deployment.parent != choice.bundle.digest]
    if not other:
        yield TrustCheck(
            "Deployment",
            "good",
            f"All {formatting.count(len(report.last_deployments), 'device')} were given this model last.",
        )
        return
    names = formatting.listed(other[:4]) + (f" and {len(other) - 4} more" if len(other) > 4 else "")
    yield TrustCheck(
        "Deployment", "warning", f"{names} {'was' if len(other) == 1 else 'were'} given another model last."
    )
