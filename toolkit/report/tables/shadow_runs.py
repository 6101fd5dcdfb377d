"""Table of candidates that ran beside the serving release on live frames."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.artifacts.fleet import PASSED, REFUSED, ShadowRun
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.tables.results_tables import Cell, Table, table

STYLES = {PASSED: "good", REFUSED: "bad"}


def shadow_runs(report: ReportData) -> Table:
    """Return the comparisons on live frames, newest first; of pairs, the serving release's figure comes first."""
    columns = (
        "Device",
        "Candidate",
        "Serving",
        "Verdict",
        "#Agreement",
        "#Counted",
        "#Right of labeled",
        "Confidence",
        "Latency, ms",
        "#Class shift",
        "Images/s, alone and beside it",
        "Most frequent disagreement",
        "When",
    )
    names = {v.bundle.digest: v.bundle.name for v in report.variants if v.bundle}
    runs = sorted(report.shadow_runs, key=lambda run: run.at, reverse=True)
    return table("Candidates compared on live frames", columns, (_row(run, names.get(run.parent, "")) for run in runs))


def _row(run: ShadowRun, name: str) -> Iterator[Cell | str]:
    yield run.device
    yield Cell(f"{name} {run.parent[:12]}".strip(), style="mono")
    yield Cell(f"{run.serving_name} {run.serving[:12]}", style="mono")
    yield Cell(run.decision, style=STYLES.get(run.decision, "quiet"), title=run.reason)
    yield formatting.percent(run.agreed / run.counted) if run.counted else ""
    yield f"{run.counted:,} of {run.frames:,}"
    yield f"{run.right[0]:,} → {run.right[1]:,} of {run.labeled:,}" if run.labeled else ""
    yield " → ".join(formatting.percent(share) for share in run.confidence)
    yield " → ".join("?" if ms is None else formatting.number(ms) for ms in run.latency_ms)
    yield formatting.percent(run.class_shift)
    yield " → ".join("?" if fps is None else formatting.number(fps) for fps in run.fps)
    yield next((f"{pair}: {count}" for pair, count in run.disagreements.items()), "")
    yield formatting.date(run.at)
