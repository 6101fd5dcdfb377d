from __future__ import annotations

import dataclasses
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Deployment
from toolkit.errors import MachineError
from toolkit.store import Store, database

RECORD = BenchRecord(
    digest="d1",
    parent="b1",
    device="pi-1",
    scenario="offline",
    accelerator="CPU",
    samples_ms=(1.25, 2.5),
    wall_s=1.0,
    quick=True,
    broken_rules=("throttled",),
    accuracy=None,
    correct=None,
    images=0,
    facts={"cores": 4},
    settings={"threads": None},
    at="2026-01-01T00:00:00+00:00",
)
SPLIT = Split(digest="s1", name="masks", labels=("a", "b"), counts={"train": {"a": 1, "b": 2}}, path="splits/s1.jsonl")


def test_get_gives_back_what_was_put(tmp_path: Path) -> None:
    with Store(tmp_path / "toolkit.db") as store:
        store.put(RECORD)
        store.put(SPLIT)
        assert store.get(BenchRecord, "d1") == RECORD
        assert store.get(Split, "s1") == SPLIT
        assert store.get(Split, "d1") is None


def test_all_gives_those_of_one_parent_when_asked(tmp_path: Path) -> None:
    other = dataclasses.replace(RECORD, digest="d2", parent="b2")
    with Store(tmp_path / "toolkit.db") as store:
        store.put(RECORD)
        store.put(other)
        assert store.all(BenchRecord) == (RECORD, other)
        assert store.all(BenchRecord, parent="b2") == (other,)
        assert store.starting_with(BenchRecord, "d") == (RECORD, other)


def test_all_keeps_recording_order_when_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`deploy NAME` takes the last bundle of that name: an older one must not come back with the clock."""
    later = dataclasses.replace(RECORD, digest="a0")
    with Store(tmp_path / "toolkit.db") as store:
        for record, year in ((RECORD, 2030), (later, 2020)):
            monkeypatch.setattr(database, "datetime", Mock(now=Mock(return_value=datetime(year, 1, 1, tzinfo=UTC))))
            store.put(record)
        assert store.all(BenchRecord) == (RECORD, later)


def test_put_replaces_when_the_digest_is_the_same(tmp_path: Path) -> None:
    with Store(tmp_path / "toolkit.db") as store:
        store.put(RECORD)
        store.put(dataclasses.replace(RECORD, wall_s=2.0))
        assert [record.wall_s for record in store.all(BenchRecord)] == [2.0]


@given(samples=st.lists(st.floats(allow_nan=False), max_size=50))
def test_put_keeps_every_bit_of_the_samples(tmp_path_factory: pytest.TempPathFactory, samples: list[float]) -> None:
    record = dataclasses.replace(RECORD, samples_ms=tuple(samples))
    with Store(tmp_path_factory.mktemp("store") / "toolkit.db") as store:
        store.put(record)
        assert store.get(BenchRecord, "d1") == record


def test_store_is_read_when_another_process_holds_it(tmp_path: Path) -> None:
    with Store(tmp_path / "toolkit.db") as first, Store(tmp_path / "toolkit.db") as second:
        first.put(SPLIT)
        assert second.all(Split) == (SPLIT,)


def test_store_refuses_when_a_newer_toolkit_wrote_it(tmp_path: Path) -> None:
    Store(tmp_path / "toolkit.db").close()
    with sqlite3.connect(tmp_path / "toolkit.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(MachineError, match="newer toolkit"):
        Store(tmp_path / "toolkit.db")


def test_views_answer_when_asked_by_hand(tmp_path: Path) -> None:
    with Store(tmp_path / "toolkit.db") as store:
        store.put(RECORD)
        store.put(Deployment(digest="x", parent="b1", device="pi-1", release="r", outcome="deployed"))
    with sqlite3.connect(tmp_path / "toolkit.db") as connection:
        assert connection.execute("SELECT device, samples FROM bench_record").fetchall() == [("pi-1", 2)]
        assert connection.execute("SELECT device, outcome FROM deployment").fetchall() == [("pi-1", "deployed")]
        assert connection.execute("SELECT * FROM trained_model").fetchall() == []
        assert connection.execute("SELECT * FROM captures").fetchall() == []
