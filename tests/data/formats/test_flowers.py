from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from toolkit.artifacts.dataset import Split
from toolkit.data import read_manifest
from toolkit.data.formats.matlab import read_mat
from toolkit.workspace import Workspace

Gather = Callable[..., Split]
Refusal = Callable[..., str]
Write = Callable[[Path, int], Path]

_TYPES = {"u1": (9, 2), "u2": (11, 4), "f8": (6, 9)}  # MATLAB's class of array and type of storage


def element(kind: int, content: bytes, order: str = "<") -> bytes:
    if len(content) <= 4:
        return struct.pack(f"{order}I", len(content) << 16 | kind) + content.ljust(4, b"\0")
    return struct.pack(f"{order}II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def matrix(name: str, row: np.ndarray, dtype: str, *, stored: str | None = None, order: str = "<") -> bytes:
    """A matrix of one row, as MATLAB 5 saves it; `stored` is the smaller type that its numbers are written in."""
    kind = _TYPES[dtype][0]
    body = element(6, struct.pack(f"{order}II", kind, 0), order)
    body += element(5, struct.pack(f"{order}ii", 1, len(row)), order) + element(1, name.encode(), order)
    written = stored or dtype
    body += element(_TYPES[written][1], row.astype(f"{order}{written}").tobytes(), order)
    return struct.pack(f"{order}II", 14, len(body)) + body


def mat(*matrices: bytes, compressed: bool = True, order: str = "<") -> bytes:
    head = b"MATLAB 5.0 MAT-file, Platform: GLNX86".ljust(124) + struct.pack(f"{order}H", 0x0100)
    head += b"IM" if order == "<" else b"MI"
    packed = [zlib.compress(one) for one in matrices]
    bodies = [struct.pack(f"{order}II", 15, len(one)) + one for one in packed] if compressed else list(matrices)
    return head + b"".join(bodies)


LABELS = np.array([1, 2] * 6)
SETS = {"trnid": np.array([1, 2, 3, 4]), "valid": np.array([5, 6]), "tstid": np.arange(7, 13)}


@pytest.fixture
def flowers(tmp_path: Path, image: Write) -> Path:
    """Twelve images of two flowers, in the three files that Oxford gives out."""
    root = tmp_path / "flowers"
    root.mkdir()
    with tarfile.open(root / "102flowers.tgz", "w:gz") as opened:
        for number in range(1, 13):
            content = image(tmp_path / "made" / f"{number}.jpg", number).read_bytes()
            member = tarfile.TarInfo(f"jpg/image_{number:05}.jpg")
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    (root / "imagelabels.mat").write_bytes(mat(matrix("labels", LABELS, "f8", stored="u1")))
    (root / "setid.mat").write_bytes(mat(*(matrix(name, row, "u2") for name, row in SETS.items())))
    return root


@pytest.mark.slow
def test_prepare_keeps_oxfords_parts_when_flowers_are_read(
    flowers: Path, tmp_path: Path, workspace: Workspace, gather: Gather
) -> None:
    split = gather("flowers102", flowers)
    assert split.labels == ("001", "002")
    assert {subset: list(counts.values()) for subset, counts in split.counts.items()} == {
        "train": [2, 2],
        "validation": [1, 1],
        "test": [3, 3],
    }
    first = read_manifest(split, workspace)[0]
    assert first.path.read_bytes() == (tmp_path / "made" / "1.jpg").read_bytes()
    first.path.unlink()
    assert gather("flowers102", flowers) == split
    assert first.path.is_file()
    with tarfile.open(flowers / "102flowers.tgz") as opened:
        opened.extractall(flowers, filter="data")
    (flowers / "102flowers.tgz").unlink()
    assert gather("flowers102", flowers).digest == split.digest


def test_prepare_names_the_flowers_when_there_are_words(flowers: Path, gather: Gather, refusal: Refusal) -> None:
    (flowers / "words.txt").write_text("001 pink primrose\n002\thard-leaved pocket orchid, other name\n")
    split = gather("flowers102", flowers, class_names="flowers/words.txt")
    assert split.labels == ("pink primrose", "hard-leaved pocket orchid")
    (flowers / "words.txt").write_text("001 pink primrose\n")
    assert "does not name 002" in refusal("flowers102", flowers, class_names=flowers / "words.txt")


def test_prepare_names_every_file_when_flowers_lack_them(tmp_path: Path, refusal: Refusal) -> None:
    message = refusal("flowers102", tmp_path / "none")
    assert all(f"{name}: no such file" in message for name in ("imagelabels.mat", "setid.mat", "102flowers.tgz"))


def test_prepare_refuses_when_flowers_counts_disagree(flowers: Path, refusal: Refusal) -> None:
    (flowers / "imagelabels.mat").write_bytes(mat(matrix("labels", LABELS[:11], "u1")))
    sets = SETS | {"valid": np.array([1, 6]), "tstid": np.array([7, 99])}
    (flowers / "setid.mat").write_bytes(mat(*(matrix(name, row, "u2") for name, row in sets.items())))
    message = refusal("flowers102", flowers)
    assert "11 labels for 12 images" in message
    assert "tstid names image 99, which is not there" in message
    assert "names 1 images twice" in message


def test_prepare_refuses_when_flowers_files_are_damaged(flowers: Path, refusal: Refusal) -> None:
    whole = (flowers / "imagelabels.mat").read_bytes()
    (flowers / "imagelabels.mat").write_bytes(whole[:-4])
    (flowers / "setid.mat").write_bytes(b"MATLAB 7.3".ljust(200))
    message = refusal("flowers102", flowers)
    assert "imagelabels.mat: truncated" in message
    assert "setid.mat: wrong magic" in message


def test_prepare_leaves_nothing_when_the_flowers_archive_is_cut(
    flowers: Path, workspace: Workspace, refusal: Refusal
) -> None:
    whole = (flowers / "102flowers.tgz").read_bytes()
    (flowers / "102flowers.tgz").write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refusal("flowers102", flowers)
    assert not list((workspace.root / "data").iterdir())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize(("dtype", "stored"), [("u1", None), ("u2", None), ("f8", None), ("f8", "u1"), ("f8", "u2")])
def test_read_mat_gives_the_numbers_when_read(order: str, compressed: bool, dtype: str, stored: str | None) -> None:
    row = np.array([1, 2, 102, 77, 5])
    content = mat(matrix("labels", row, dtype, stored=stored, order=order), compressed=compressed, order=order)
    read = read_mat(content)["labels"]
    assert read.dtype == np.dtype(dtype)
    assert np.array_equal(read, row[None])


def test_read_mat_refuses_when_cut_anywhere_or_flipped() -> None:
    """Every cut is noticed; a flipped byte gives an error or numbers, never another kind of failure."""
    content = mat(matrix("labels", np.arange(9), "u2"), compressed=False)
    for end in range(129, len(content)):
        with pytest.raises(ValueError):
            read_mat(content[:end])
    for at in range(128, len(content)):
        for value in (0x00, 0x7F, 0xFF):
            flipped = content[:at] + bytes([value]) + content[at + 1 :]
            try:
                read_mat(flipped)
            except ValueError:
                continue


def test_read_mat_refuses_when_little_unpacks_to_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.data.formats.matlab._MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="expands beyond the limit"):
        read_mat(mat(matrix("labels", np.zeros(100_000), "u1")))
