"""Captures are stored under their digest, and listed by Python and by SQL alike."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.device.test_capture_record import RECORD
from toolkit.captures import collected, image_path, parse_sidecar
from toolkit.store import Store
from toolkit.workspace import Workspace


def test_captures_are_listed_by_python_and_by_sql(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    capture = parse_sidecar(RECORD.to_json(), RECORD.digest, "pi-1", (1 << 64) - 1)
    with Store(workspace.database) as store:
        store.put(capture)
        assert collected(store) == (capture,)
    with sqlite3.connect(workspace.database) as connection:
        row = connection.execute("SELECT device, release, class, probabilities FROM captures").fetchone()
    assert row == ("pi-1", RECORD.release, RECORD.label, "[0.6,0.4]")


def test_image_path_takes_digests_only(tmp_path: Path) -> None:
    assert image_path(Workspace(tmp_path), "0" * 64) == tmp_path / "captures" / f"{'0' * 64}.jpg"
    with pytest.raises(ValueError, match="not a digest"):
        image_path(Workspace(tmp_path), "../" * 21 + "x")
