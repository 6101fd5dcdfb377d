"""The same tables as Markdown: report.md beside the page, and a file of results to keep with the code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.report import formatting
from toolkit.report.data import provenance
from toolkit.report.render.page import STATES, Content
from toolkit.report.tables import published_comparison
from toolkit.report.tables.results_tables import Table

HEADINGS = {
    "trained": "Trained models",
    "heads": "Sigmoid against softmax",
    "networks": "The best network compared with the others",
    "classes": "Class by class",
    "multilabel": "Multi-label metrics",
    "confused": "Most often confused",
    "ranked": "One image",
    "models": "Every variant of every model",
    "parity": "Parity",
    "layer_errors": "Layers with the largest added error",
    "checks": "Checked without a device",
    "devices": "Devices",
    "speeds": "Speed on each device",
    "variant_choices": "The fastest variant",
    "serving": "The last deployment to each device",
    "rejection": "When a model answers unknown",
    "history": "Speed over time",
    "drift": "Changes in speed",
    "outliers": "Outliers among similar devices",
    "retrained": "Learned from labels",
    "labels": "From labels to releases",
    "shadow": "Compared on live frames",
    "cameras": "Data drift",
    "imported": "Imported models",
    "sizes": "Size of the networks",
    "separations": "Savings by depthwise separation",
    "splits": "Data",
    "lineage": "Lineage",
}
MANY_ROWS = 60
"""Longer tables of classes stay in the CSV: a file of results is read from top to bottom."""


def render(shown: Content) -> str:
    """The whole report, as it lies beside the page."""
    newest = formatting.date(shown.report.at) or "nothing measured yet"
    about = f"\nNewest record: {newest}. The charts are in [index.html](index.html)."
    return "\n".join((*_top(shown), about, *_tables(shown), *_how(shown))) + "\n"


def results(shown: Content, file: Path) -> str:
    """The same for a file that is kept with the code: with the machine, and with what was not run."""
    return "\n".join((*_top(shown), *_conditions(shown, file), *_tables(shown), *_how(shown))) + "\n"


def _top(shown: Content) -> Iterator[str]:
    report, recommendation = shown.report, shown.recommendation
    yield f"# {escape(report.title)}\n"
    yield f"> Data: {published_comparison.data_label(report)}.\n"
    yield f"**{recommendation.headline}.** {recommendation.reason}\n"
    yield from (f"- {check.title} ({STATES[check.state]}): {check.text}" for check in recommendation.checks)


def _conditions(shown: Content, file: Path) -> Iterator[str]:
    report = shown.report
    yield f"\nMade by `{provenance.results_command(report, file)}` from the records of one workspace; no figure was entered by hand."
    yield f"Newest record: {formatting.date(report.at) or 'nothing measured yet'}. Written on: {provenance.machine()}."
    missing = provenance.not_run(report)
    yield "\n## Not run\n"
    yield from (f"- {text}" for text in missing or ("Every part of the experiment was run.",))
    if warned := provenance.warnings(report):
        yield "\n## Warnings of training\n"
        yield from (f"- {models}: {text}." for models, text in warned)


def _tables(shown: Content) -> Iterator[str]:
    for name, heading in HEADINGS.items():
        table = shown.tables[name]
        if table.rows and not (name == "classes" and len(table.rows) > MANY_ROWS):
            yield f"\n## {heading}\n"
            if name == "heads":
                yield f"{shown.heads_verdict}\n"
            yield from _table(table)
    if shown.published:
        yield from _published(shown)


def _published(shown: Content) -> Iterator[str]:
    published = shown.published
    if published is None:
        return
    yield f"\n## Published, and ours\n\nPublished: {published.source}; {published.data}; {published.hardware}; {published.training}."
    yield f"{provenance.why_different(shown.report)}"
    if not published.same_data:
        yield f"\n**Not the same data:** ours is {published_comparison.data_label(shown.report)}, so neither is better or worse for it."
    for sheet in published.sheets:
        yield f"\n### {sheet.caption}\n"
        yield from _table(shown.tables[sheet.name])
        if any(figure.metric.labeled for figure in sheet.figures):
            yield f"\n{published_comparison.images_note(shown.report)}"


def _how(shown: Content) -> Iterator[str]:
    report = shown.report
    yield f"\n## How it was made\n\n```sh\n{provenance.commands(report)}\n```\n\nMade with {provenance.versions(report)}."


def _table(table: Table) -> Iterator[str]:
    drawn = {n for row in table.rows for n, cell in enumerate(row) if cell.drawing}
    shown_columns = [n for n in range(len(table.columns)) if n not in drawn]
    yield _row(table.columns[n] for n in shown_columns)
    yield _row("---:" if n in table.numeric else "---" for n in shown_columns)
    yield from (_row(row[n].text for n in shown_columns) for row in table.rows)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(escape(str(cell)) for cell in cells)} |"


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, no links, no emphasis, no cells of its own."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", plain)
