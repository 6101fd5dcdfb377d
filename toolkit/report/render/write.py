"""Write the page, its CSV files, the Markdown and the raw records; the same store gives the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit import files
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.model import TrainedModel
from toolkit.experiment.load import load_experiment, shipped_experiment
from toolkit.experiment.schema import Experiment
from toolkit.report.checks import Check
from toolkit.report.data.load import gather
from toolkit.report.published import results as figures
from toolkit.report.recommendation import judge
from toolkit.report.render import export_csv, export_json, markdown, page
from toolkit.report.tables import model_size
from toolkit.store import Store
from toolkit.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Report:
    """Where a report lies, and its short form for the terminal."""

    index: Path
    csv: tuple[Path, ...]
    markdown: Path
    note: str
    """What must be said wherever a figure is shown, such as "synthetic masks"; empty where there is nothing to say."""
    headline: str
    reason: str
    checks: tuple[Check, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The table of models as it stands on the page."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The bundle that a report recommends, None if it recommends none, and why."""

    bundle: Bundle | None
    reason: str


def recommend(workspace: Workspace, store: Store) -> Recommendation:
    """Return what the report on the experiment trained last recommends.

    Raises:
        DataError: nothing was trained yet.
    """
    verdict = judge(gather(workspace, store, _shipped(store)))
    bundle = verdict.choice.bundle if verdict.choice else None
    return Recommendation(bundle, verdict.reason)


def write_report(
    workspace: Workspace,
    store: Store,
    *,
    experiment: Experiment | None = None,
    destination: Path | None = None,
    results: Path | None = None,
) -> Report:
    """Report on `experiment`, or on the one trained last, under workspace/reports/NAME or in `destination`.

    `results` is a file for the same tables as plain Markdown, with the machine and what was not run.

    Raises:
        DataError: nothing was trained yet.
        ConfigurationError: the experiment names published figures that do not exist.
    """
    gathered = gather(workspace, store, experiment or _shipped(store))
    published = figures.load(gathered.published, gathered) if gathered.published else None
    counted = model_size.counted(gathered, workspace)
    shown = page.content(gathered, judge(gathered), published, counted)
    csv = {name: frame.write_csv().encode() for name, frame in export_csv.frames(gathered, published, counted).items()}
    folder = destination or workspace.folder("reports", gathered.name)
    texts = {"report.md": markdown.render(shown).encode(), "index.html": page.render(shown, tuple(csv)).encode()}
    for name, content in (dict(export_json.files(gathered)) | csv | texts).items():
        _write(folder / name, content)
    if results:
        _write(results, markdown.results(shown, results).encode())
    summary = shown.tables["models"]
    return Report(
        index=folder / "index.html",
        csv=tuple(folder / name for name in csv),
        markdown=folder / "report.md",
        note=", ".join(gathered.notes),
        headline=shown.verdict.headline,
        reason=shown.verdict.reason,
        checks=shown.verdict.checks,
        columns=summary.columns,
        rows=tuple(tuple(cell.text for cell in row) for row in summary.rows),
    )


def _write(path: Path, content: bytes) -> None:
    """What is there already, byte for byte, is left alone: raw records are many and never change."""
    if not path.is_file() or path.read_bytes() != content:
        with files.atomic_write(path) as stream:
            stream.write(content)


def _shipped(store: Store) -> Experiment | None:
    """The toolkit's own file of the experiment trained last: it may name published figures."""
    name = next((model.experiment for model in reversed(store.all(TrainedModel)) if model.experiment), "")
    path = shipped_experiment(name)
    return load_experiment(path) if name and path.is_file() else None
