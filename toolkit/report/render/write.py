"""Write the page, its CSV files, the Markdown and the raw records; the same store gives the same bytes."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import toolkit
from toolkit import files, hashing
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.model import TrainedModel
from toolkit.experiment.load import load_experiment, shipped_experiment
from toolkit.experiment.schema import Experiment
from toolkit.report.checks import TrustCheck
from toolkit.report.data.load import load_report
from toolkit.report.published import results as figures
from toolkit.report.recommendation import Recommendation, recommend_model
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
    checks: tuple[TrustCheck, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The table of models as it stands on the page."""


def recommend(workspace: Workspace, store: Store) -> Recommendation:
    """Return what the report on the experiment trained last recommends.

    Raises:
        DataError: nothing was trained yet.
    """
    return recommend_model(load_report(workspace, store, _shipped(store)))


def write_report(
    workspace: Workspace,
    store: Store,
    *,
    experiment: Experiment | None = None,
    destination: Path | None = None,
    results: Path | None = None,
    workspace_option: str = "",
) -> Report:
    """Report on `experiment`, or on the one trained last, under workspace/reports/NAME or in `destination`.

    `results` is a file for the same tables as plain Markdown, with the machine and what was not run. The commands
    that the report prints end in `workspace_option`.

    Raises:
        DataError: nothing was trained yet.
        ConfigurationError: the experiment names published figures that do not exist.
    """
    report = replace(load_report(workspace, store, experiment or _shipped(store)), workspace_option=workspace_option)
    published = figures.load(report.published, report) if report.published else None
    counted = model_size.counted(report, workspace)
    shown = page.content(report, recommend_model(report), published, counted)
    csv = export_csv.csv_files(report, published, counted)
    folder = destination or workspace.folder("reports", report.name)
    texts = {
        "report.md": markdown.render(shown).encode(),
        "index.html": _page(folder / "index.html", shown, tuple(csv), workspace),
    }
    for name, content in export_json.files(report):
        _write(folder / name, content, durable=False)  # made again from the store at any time
    for name, content in (csv | texts).items():
        _write(folder / name, content)
    if results:
        _write(results, markdown.results(shown, results).encode())
    summary = shown.tables["models"]
    return Report(
        index=folder / "index.html",
        csv=tuple(folder / name for name in csv),
        markdown=folder / "report.md",
        note=", ".join(report.notes),
        headline=shown.recommendation.headline,
        reason=shown.recommendation.reason,
        checks=shown.recommendation.checks,
        columns=summary.columns,
        rows=tuple(tuple(cell.text for cell in row) for row in summary.rows),
    )


def _page(path: Path, shown: page.Content, csv_names: tuple[str, ...], workspace: Workspace) -> bytes:
    """The page's HTML; that at `path` if it was rendered from the same content by the same code, as charts take seconds.

    The cache holds the digests of what each page was rendered from and of its HTML.
    """
    known = workspace.folder("cache", "reports") / f"{hashing.sha256_bytes(bytes(path.absolute()))[:16]}.json"
    key = _key(shown, csv_names)
    if path.is_file() and known.is_file():
        html = path.read_bytes()
        if known.read_bytes() == _digests(key, html):
            return html
    html = page.render(shown, csv_names).encode()
    _write(known, _digests(key, html), durable=False)
    return html


def _digests(key: str, html: bytes) -> bytes:
    return hashing.canonical_json({"rendered_from": key, "sha256": hashing.sha256_bytes(html)})


def _key(shown: page.Content, csv_names: tuple[str, ...]) -> str:
    """A digest of all that the page follows from. Pickled, as there is much of it; nothing reads it back.

    Without the pickler's memo, so that equal values give equal bytes, whether or not they are one object. A bench record's
    own digest stands for it and its samples. Of deployments the page shows what the tables have.
    """
    report = replace(shown.report, plan=None, deployments=())
    plan = repr(shown.report.plan)  # pydantic pickles a set in no order
    content = io.BytesIO()
    pickler = pickle.Pickler(content)
    pickler.fast = True
    pickler.dispatch_table = {BenchRecord: lambda record: (str, (record.digest,))}
    pickler.dump((report, shown.tables, shown.recommendation))
    return hashing.sha256_json([hashing.sha256_bytes(content.getvalue()), plan, csv_names, _code_digest()])


def _code_digest() -> str:
    """Of the toolkit's own files and the versions of what draws the charts."""
    package = Path(toolkit.__file__).parent
    names = sorted(path for path in package.rglob("*") if path.suffix in {".py", ".css", ".j2", ".toml"})
    contents = [hashing.sha256_file(name) for name in names]
    return hashing.sha256_json(
        [contents, *(metadata.version(name) for name in ("altair", "vl-convert-python", "jinja2"))]
    )


def _write(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Files that hold the same bytes already are left alone: raw records are many and never change."""
    if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
        with files.atomic_write(path, durable=durable) as stream:
            stream.write(content)


def _shipped(store: Store) -> Experiment | None:
    """The toolkit's own file of the experiment trained last: it may name published figures."""
    name = next((model.experiment for model in reversed(store.all(TrainedModel)) if model.experiment), "")
    path = shipped_experiment(name)
    return load_experiment(path) if name and path.is_file() else None
