"""Tables of latency over time and of the last deployment to each device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.analysis import Regression
from toolkit.report import formatting
from toolkit.report.data.latency_history import LatencyPoint
from toolkit.report.data.load import ReportData
from toolkit.report.data.variants import Variant
from toolkit.report.tables import drift
from toolkit.report.tables.results_tables import Cell, Table, table

WIDTH, HEIGHT, EDGE = 132, 30, 4


@dataclass(frozen=True, slots=True)
class Series:
    """All valid latencies of one form of a model on one device, oldest first; quick and full runs are never mixed."""

    name: str
    device: str
    accelerator: str
    quick: bool
    past: tuple[LatencyPoint, ...]


def series(report: ReportData) -> tuple[Series, ...]:
    """Return the series with at least two runs."""
    groups: dict[tuple[str, str, str, bool], list[LatencyPoint]] = {}
    for each in sorted(report.past, key=lambda past: past.at):
        groups.setdefault((each.name, each.device, each.accelerator, each.quick), []).append(each)
    return tuple(Series(*key, tuple(past)) for key, past in groups.items() if len(past) > 1)


def history(report: ReportData) -> Table:
    """A row per series with its sparkline."""
    columns = (
        "Device",
        "Model",
        "#Runs",
        "p90 over time",
        "#First, ms",
        "#Newest, ms",
        "#Change",
        "Since",
        "By the test",
    )
    compared = {comparison.newest.digest: comparison for comparison in report.compared}
    rows = (_history_row(each, compared.get(each.past[-1].digest)) for each in series(report))
    return table("Speed over time", columns, rows)


def _history_row(of: Series, compared: Regression | None) -> Iterator[Cell | str]:
    first, newest = of.past[0], of.past[-1]
    change = newest.p90_ms / first.p90_ms - 1
    yield of.device if of.accelerator == "CPU" else f"{of.device} {of.accelerator}"
    yield f"{of.name}{', quick runs' if of.quick else ''}"
    yield str(len(of.past))
    yield Cell("", drawing=sparkline([past.p90_ms for past in of.past]))
    yield from (Cell(formatting.number(each.p90_ms), f"#record-{each.digest[:12]}") for each in (first, newest))
    yield f"{100 * change:+.0f} %".replace("-", formatting.MINUS)
    yield formatting.date(first.at)
    if compared is None:
        yield Cell("nothing to compare with", style="quiet")
    else:
        yield Cell(f"{compared.change}, p {drift.p_value(compared.p_value)}", style=drift.STYLES[compared.change])


def sparkline(values: Sequence[float]) -> str:
    """Return a sparkline whose scale starts at 0, so that noise does not look like change."""
    top = max(values) or 1
    step = (WIDTH - 2 * EDGE) / (len(values) - 1)
    points = [(EDGE + n * step, HEIGHT - EDGE - value / top * (HEIGHT - 2 * EDGE)) for n, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    label = f"{len(values)} runs, {formatting.span(values, 'ms')}, newest {formatting.number(values[-1])} ms"
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"><title>{label}</title>'
        f'<polyline points="{line}" fill="none" stroke="var(--s1)" stroke-width="1.6" stroke-linejoin="round"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="var(--s1)"/></svg>'
    )


def serving(report: ReportData, choice: Variant | None) -> Table:
    """Return the last deployment to each device, and whether it is of the recommended model."""
    recommended = choice.bundle.digest if choice and choice.bundle else ""
    names = {v.bundle.digest: formatting.variant_name(v.model, v.ir) for v in report.variants if v.bundle}
    rows = (
        (
            deployment.device,
            Cell(deployment.outcome, style="bad" if deployment.outcome in {"failed", "rolled-back"} else ""),
            Cell(deployment.release[:12], style="mono"),
            names.get(deployment.parent, "another experiment's, or an older one"),
            Cell("yes", style="good") if deployment.parent == recommended else Cell("no", style="warning"),
            formatting.date(deployment.at),
        )
        for deployment in report.last_deployments
    )
    columns = ("Device", "Last deployment", "Release", "Model", "As the verdict says", "When")
    return table("The last deployment to each device", columns, rows)
