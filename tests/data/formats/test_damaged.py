"""Whatever the bytes of a data set are, its reader returns or raises a ToolkitError."""

from __future__ import annotations

import contextlib
import gzip
import pickle
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from toolkit.data.formats import cifar, idx, voc
from toolkit.data.formats.csv_list import read_csv_list
from toolkit.data.formats.matlab import read_mat
from toolkit.data.formats.pickles import read_pickle
from toolkit.errors import ToolkitError
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Silent
from toolkit.workspace import Workspace

FUZZ = settings(
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes of a file with some changed, cut, doubled, or other ones altogether."""
    kind = draw(st.sampled_from(["change", "cut", "insert", "other"]))
    if kind == "other":
        return draw(st.binary(max_size=300))
    content = bytearray(whole)
    if kind == "cut":
        return bytes(content[: draw(st.integers(0, len(content)))])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(content) - 1))
        if kind == "insert":
            content[at:at] = draw(st.binary(max_size=8))
        else:
            content[at] = draw(st.integers(0, 255))
    return bytes(content)


def idx_bytes(shape: tuple[int, ...]) -> bytes:
    values = np.arange(int(np.prod(shape)), dtype=np.uint8) % 3
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + values.tobytes()


def cifar_pickle() -> bytes:
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1], b"filenames": [b"a", b"b"]}
    return pickle.dumps(batch, protocol=2)


def mat_bytes() -> bytes:
    def element(kind: int, body: bytes) -> bytes:
        return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)

    matrix = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1, 3)) + element(1, b"labels")
    whole = element(14, matrix + element(9, struct.pack("<3d", 1, 2, 3)))
    header = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    packed = zlib.compress(whole)
    return header + whole + struct.pack("<II", 15, len(packed)) + packed


def is_refused(read: Callable[[], Any], *expected: type[Exception]) -> None:
    """Read it, within ten seconds."""
    start = time.monotonic()
    with contextlib.suppress(ToolkitError, *expected):
        read()
    assert time.monotonic() - start < 10


@FUZZ
@given(st.data(), st.booleans(), st.booleans())
def test_idx_is_read_or_refused_when_damaged(tmp_path: Path, data: st.DataObject, packed: bool, labels: bool) -> None:
    names = [f"{subset}-{what}" for subset in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    files = {name: tmp_path / name for name in names}
    for name, path in files.items():
        path.write_bytes(idx_bytes((3, 2, 2) if "images" in name else (3,)))
    path = files[names[1 if labels else 0]]
    content = gzip.compress(path.read_bytes()) if packed else path.read_bytes()
    path.write_bytes(data.draw(damaged(content)))
    is_refused(lambda: idx.load({name: str(path) for name, path in files.items()}, []))


@FUZZ
@given(st.data(), st.sampled_from(["batches.meta", "data_batch_1", "test_batch"]))
def test_cifar_is_read_or_refused_when_damaged(tmp_path: Path, data: st.DataObject, name: str) -> None:
    for batch in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (tmp_path / batch).write_bytes(cifar_pickle())
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a", b"b"]}, protocol=2))
    (tmp_path / name).write_bytes(data.draw(damaged((tmp_path / name).read_bytes())))
    is_refused(lambda: cifar.load(str(tmp_path), "cifar10", "fine"))


@FUZZ
@given(damaged(cifar_pickle()))
@example(b"\x80\x02}r\xff\xff\xff\x7f.")
def test_read_pickle_gives_a_dictionary_or_refuses(content: bytes) -> None:
    is_refused(lambda: read_pickle(content), ValueError)


def test_read_pickle_refuses_lists_that_grow_without_end() -> None:
    value: list[Any] = ["x"]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(ValueError, match="a list in a list"):
        read_pickle(pickle.dumps({"labels": value}, protocol=2))


@FUZZ
@given(damaged(mat_bytes()))
def test_read_mat_gives_matrices_or_refuses(content: bytes) -> None:
    is_refused(lambda: read_mat(content), ValueError)


def test_read_mat_reads_the_example() -> None:
    assert read_mat(mat_bytes())["labels"].tolist() == [[1, 2, 3]]


def test_mat_with_dimensions_of_odd_bytes_is_refused() -> None:
    content = bytearray(mat_bytes())
    at = content.index(struct.pack("<II", 5, 8))
    content[at : at + 8] = struct.pack("<II", 5, 6)
    with pytest.raises(ValueError, match="without flags, dimensions or name"):
        read_mat(bytes(content))


@FUZZ
@given(st.data(), st.sampled_from(["Annotations/a.xml", "ImageSets/Main/train.txt", "ImageSets/Main/cat_train.txt"]))
def test_voc_is_read_or_refused_when_damaged(tmp_path: Path, data: st.DataObject, name: str) -> None:
    files = {
        "Annotations/a.xml": b"<annotation><object><name>cat</name><difficult>0</difficult></object></annotation>",
        "ImageSets/Main/train.txt": b"a\nb\n",
        "ImageSets/Main/val.txt": b"a\n",
        "ImageSets/Main/cat_train.txt": b"a  1\nb -1\n",
    }
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(data.draw(damaged(content)) if file == name else content)
    is_refused(lambda: voc.load(str(tmp_path)))


@FUZZ
@given(damaged(b"path,label,subset\na.png,cat,train\nb.png,dog,test\n"))
def test_csv_is_read_or_refused_when_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    path = tmp_path / "list.csv"
    table = DataConfig(source="csv", path=path)
    is_refused(lambda: read_csv_list(table, path, Workspace(tmp_path / "workspace"), Silent()))
