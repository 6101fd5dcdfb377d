"""Store artifacts, and load them as the same frozen values."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter
from pydantic_core import from_json

from toolkit.store.connection import open_database

A = TypeVar("A")


class _Adapters(dict[type[Any], TypeAdapter[Any]]):
    """One pydantic adapter per kind, built on first use."""

    def __missing__(self, kind: type[Any]) -> TypeAdapter[Any]:
        self[kind] = TypeAdapter(kind)
        return self[kind]


_ADAPTERS = _Adapters()


class Store:
    """The workspace's database.

    Lifecycle: open by `with Store(path) as store`; each `put` is its own transaction, so a stop at any time loses
    nothing that was put. Several processes may write at once (WAL).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = open_database(path)
        except sqlite3.Error as error:
            error.add_note(str(path))
            raise
        (query_only,) = self._connection.execute("PRAGMA query_only").fetchone()
        self.read_only = bool(query_only)
        """Whether the file or its folder cannot be written: reading works, `put` raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            error.add_note(str(self._path))
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def put(self, artifact: Any) -> None:
        """Keep `artifact` (a frozen dataclass of toolkit.artifacts); the same digest again replaces it."""
        body = _ADAPTERS[type(artifact)].dump_python(artifact, mode="json")
        samples = body.pop("samples_ms", None)
        self._connection.execute(
            "INSERT OR REPLACE INTO artifact SELECT ?, ?, ?, ?, ?, ?, coalesce(max(sequence), 0) + 1 FROM artifact",
            (
                type(artifact).__name__,
                artifact.digest,
                getattr(artifact, "parent", ""),
                datetime.now(UTC).isoformat(timespec="microseconds"),
                json.dumps(body, sort_keys=True, ensure_ascii=False),
                None if samples is None else array("d", samples).tobytes(),
            ),
        )

    def get(self, kind: type[A], digest: str) -> A | None:
        """The artifact of that kind and digest, or None."""
        return next(self._select(kind, "AND digest = ?", digest), None)

    def all(self, kind: type[A], *, parent: str | None = None) -> tuple[A, ...]:
        """All of a kind, oldest first; those made from `parent` if it is given."""
        if parent is None:
            return tuple(self._select(kind, ""))
        return tuple(self._select(kind, "AND parent = ?", parent))

    def starting_with(self, kind: type[A], prefix: str) -> tuple[A, ...]:
        """Those whose digest begins with `prefix`, as people shorten it."""
        return tuple(self._select(kind, "AND substr(digest, 1, ?) = ?", len(prefix), prefix))

    def _select(self, kind: type[A], condition: str, *values: object) -> Iterator[A]:
        fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # every kind is a dataclass
        rows = self._connection.execute(
            f"SELECT body, samples FROM artifact WHERE kind = ? {condition} ORDER BY sequence",  # noqa: S608 - conditions are this module's own
            (kind.__name__, *values),
        )
        for body, samples in rows:
            value = from_json(body)
            if "samples_ms" in fields:
                value["samples_ms"] = array("d", samples or b"").tolist()
            yield _ADAPTERS[kind].validate_python(value)
