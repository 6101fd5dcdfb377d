"""Data on stdout: a table for people, or JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Secret
from toolkit.progress import escape_control, mark_output, strip_control


def to_json(value: object) -> Any:
    """Return `value` in JSON's types: dataclasses as objects, paths and enums as text, secrets masked."""
    if isinstance(value, Secret):
        return "(secret)"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, Enum | Path):
        return str(value.value if isinstance(value, Enum) else value)
    return value


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    mark_output()
    sys.stdout.write(escape_control(json.dumps(to_json(value), indent=2, ensure_ascii=False)) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print a table on stdout; as wide as it needs to be when stdout is not a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    mark_output()
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(strip_control(str(cell))) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
