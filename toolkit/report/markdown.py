"""The same tables as Markdown, for pull requests and e-mails."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.report import words
from toolkit.report.page import STATES, Content, commands, versions, why_different
from toolkit.report.tables import Table

HEADINGS = {
    "models": "Every model",
    "heads": "Sigmoid against softmax",
    "classes": "Class by class",
    "parity": "Parity",
    "devices": "Devices",
    "speeds": "Speed on each device",
    "published_tests": "Published, and ours",
    "published_inferences": "On the device, published and ours",
    "splits": "Data",
    "lineage": "Lineage",
}


def render(shown: Content) -> str:
    """The whole report as Markdown."""
    return "\n".join(_lines(shown)) + "\n"


def _lines(shown: Content) -> Iterator[str]:
    gathered, verdict = shown.gathered, shown.verdict
    yield f"# {gathered.title}\n"
    if gathered.notes:
        yield f"> Data: {words.listed(gathered.notes)}.\n"
    yield f"**{verdict.headline}.** {verdict.reason}\n"
    yield from (f"- {check.title} ({STATES[check.state]}): {check.text}" for check in verdict.checks)
    yield f"\nNewest record: {words.date(gathered.at) or 'nothing measured yet'}. The charts are in [index.html](index.html)."
    for name, heading in HEADINGS.items():
        if name in shown.tables and shown.tables[name].rows:
            yield f"\n## {heading}\n"
            if shown.published and name == "published_tests":
                yield f"Published: {shown.published.source}. {why_different(gathered)}\n"
            yield from _table(shown.tables[name])
    yield f"\n## How it was made\n\n```sh\n{commands(gathered)}\n```\n\nMade with {versions(gathered)}."


def _table(table: Table) -> Iterator[str]:
    yield _row(table.columns)
    yield _row("---:" if n in table.numeric else "---" for n in range(len(table.columns)))
    yield from (_row(cell.text for cell in row) for row in table.rows)


def _row(cells: object) -> str:
    texts = (str(cell).replace("|", "\\|") for cell in cells)  # type: ignore[attr-defined]
    return f"| {' | '.join(texts)} |"
