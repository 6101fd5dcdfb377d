"""What a device does with what it is sent, by the same code that runs there."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from toolkit.device.release import receiver, store
from toolkit.device.release.prune import ORPHAN_AGE_S, prune
from toolkit.hashing import sha256_bytes

PIECES = [os.urandom(1000), os.urandom(1000), b"the end"]
CONTENT = b"".join(PIECES)


def layout(content: bytes = CONTENT, pieces: Iterable[bytes] = PIECES, place: str = "releases/new") -> store.Layout:
    chunks = [[sha256_bytes(piece), len(piece)] for piece in pieces]
    file = {"path": "a/weights", "sha256": sha256_bytes(content), "size_bytes": len(content), "chunks": chunks}
    return {"place": place, "files": [file]}


def records(*pieces: bytes) -> list[tuple[str, bytes]]:
    return [(sha256_bytes(piece), piece) for piece in pieces]


def test_receive_makes_release_when_pieces_come_in_any_order(tmp_path: Path) -> None:
    answer = receiver.receive(tmp_path, layout(), records(*reversed(PIECES)))
    assert answer == {"ok": True, "lacking": [], "damaged": []}
    assert (tmp_path / "releases/new/a/weights").read_bytes() == CONTENT
    assert store.survey(tmp_path, layout())["intact"] == ["a/weights"]
    assert not any(path.stat().st_mode & 0o222 for path in (tmp_path / "releases/new").rglob("*"))


def test_receive_keeps_pieces_and_names_the_rest_when_cut(tmp_path: Path) -> None:
    answer = receiver.receive(tmp_path, layout(), records(PIECES[1]))
    assert answer == {"ok": False, "lacking": sorted(map(sha256_bytes, (PIECES[0], PIECES[2]))), "damaged": []}
    assert not (tmp_path / "releases").exists()
    assert store.survey(tmp_path, layout())["chunks"] == [sha256_bytes(PIECES[1])]
    assert receiver.receive(tmp_path, layout(), records(PIECES[0], PIECES[2]))["ok"]


def test_receive_names_a_piece_when_its_bytes_are_others(tmp_path: Path) -> None:
    wrong = (sha256_bytes(PIECES[0]), PIECES[0][:-1] + b"?")
    answer = receiver.receive(tmp_path, layout(), [wrong, *records(*PIECES[1:])])
    assert (answer["ok"], answer["damaged"]) == (False, [sha256_bytes(PIECES[0])])


def test_receive_refuses_pieces_when_file_differs_from_layout(tmp_path: Path) -> None:
    lying = layout(content=CONTENT[::-1])
    assert not receiver.receive(tmp_path, lying, records(*PIECES))["ok"]
    assert not (tmp_path / "releases").exists()


def test_receive_takes_pieces_from_a_file_that_shares_them(tmp_path: Path) -> None:
    assert receiver.receive(tmp_path, layout(), records(*PIECES))["ok"]
    pieces = [*PIECES[:2], b"another end"]
    other = layout(b"".join(pieces), pieces, "releases/other")
    assert receiver.receive(tmp_path, other, records(b"another end"))["ok"]
    assert (tmp_path / "releases/other/a/weights").read_bytes() == b"".join(pieces)


def test_receive_copies_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert receiver.receive(tmp_path, layout(), records(*PIECES))["ok"]
    assert (tmp_path / "releases/new/a/weights").read_bytes() == CONTENT


def test_records_of_reads_as_far_as_an_archive_goes() -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, size in (("a", 1000), ("b.z", 1000), ("c", receiver.MAX_CHUNK_BYTES + 1)):
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
    result = list(receiver.iter_chunks(io.BytesIO(whole.getvalue())))
    assert result == [("a", bytes(1000)), ("b", b""), ("c", b"")], "what cannot be unpacked or is too large is empty"
    assert list(receiver.iter_chunks(io.BytesIO(whole.getvalue()[:1800]))) == [("a", bytes(1000))]
    assert list(receiver.iter_chunks(io.BytesIO(b""))) == []


def make_releases(root: Path, *names: str) -> None:
    for age, name in enumerate(names):
        content = name.encode()
        receiver.receive(root, layout(content, [content], f"releases/{name}"), records(content))
        then = time.time() - ORPHAN_AGE_S * 2 - age
        os.utime(root / "releases" / name, (then, then))
        os.utime(root / "store" / sha256_bytes(content), (then, then))
    for link, name in zip(("current", "previous"), names, strict=False):
        (root / link).symlink_to(f"releases/{name}")


def test_prune_keeps_current_previous_and_newest_others(tmp_path: Path) -> None:
    make_releases(tmp_path, "serves", "before", "young", "old", "oldest")
    assert prune(tmp_path, 1, layout()) == ["old", "oldest"]
    assert {path.name for path in (tmp_path / "releases").glob("[!.]*")} == {"serves", "before", "young"}
    assert len(list((tmp_path / "releases").glob(".*.sums"))) == 3
    assert len(list((tmp_path / "store").iterdir())) == 6, "three files, and how each was cut"
    assert prune(tmp_path, 1, layout()) == []


def test_prune_removes_nothing_while_a_benchmark_runs(tmp_path: Path) -> None:
    from toolkit.device.bench.lock import bench_lock

    make_releases(tmp_path, "serves", "before", "old")
    with bench_lock(tmp_path):
        assert prune(tmp_path, 0, layout()) == []
    assert prune(tmp_path, 0, layout()) == ["old"]


def test_prune_keeps_what_is_coming_and_what_came_only_now(tmp_path: Path) -> None:
    make_releases(tmp_path, "serves", "before", "new")
    receiver.receive(tmp_path, layout(), records(PIECES[0]))
    (tmp_path / "store" / ("1" * 64)).write_bytes(b"of another transfer")
    for path in (tmp_path / "store").glob("*.part"):
        os.utime(path, (1, 1))
    assert prune(tmp_path, 0, layout()) == []
    assert store.survey(tmp_path, layout())["chunks"] == [sha256_bytes(PIECES[0])]
    assert (tmp_path / "store" / ("1" * 64)).exists()
