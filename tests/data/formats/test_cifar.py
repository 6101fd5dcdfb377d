from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from toolkit.artifacts.dataset import Split
from toolkit.data import read_manifest
from toolkit.data.formats.pickles import read_pickle
from toolkit.device.image_io import read_image
from toolkit.workspace import Workspace

Gather = Callable[..., Split]
Refusal = Callable[..., str]

EACH = 6


def text(value: bytes) -> bytes:
    size = len(value)
    return (b"U" + bytes([size]) if size < 256 else b"T" + struct.pack("<I", size)) + value


def array(pixels: np.ndarray) -> bytes:
    """A u8 matrix as NumPy on Python 2 pickled it."""
    shape = b"".join(b"M" + struct.pack("<H", edge) for edge in pixels.shape)
    head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return head + b"(K\x01" + shape + b"\x86" + kind + b"\x89" + text(pixels.tobytes()) + b"tb"


def python2(held: dict[bytes, object]) -> bytes:
    """A dictionary as Python 2's cPickle wrote it with protocol 2, as the CIFAR files are."""

    def write(value: object) -> bytes:
        if isinstance(value, np.ndarray):
            return array(value)
        if isinstance(value, list):
            return b"](" + b"".join(write(item) for item in value) + b"e"
        return text(value) if isinstance(value, bytes) else b"M" + struct.pack("<H", value)

    return b"\x80\x02}(" + b"".join(text(key) + write(value) for key, value in held.items()) + b"u."


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (EACH, 3072), dtype=np.uint8)


BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
NUMBERS = [0, 1] * (EACH // 2)


def ten_python() -> dict[str, bytes]:
    meta = {b"num_cases_per_batch": EACH, b"label_names": [b"airplane", b"automobile"], b"num_vis": 3072}
    files = {"batches.meta": python2(meta)}
    for seed, name in enumerate(BATCHES):
        names = [b"x_%d.png" % row for row in range(EACH)]
        held = {b"batch_label": name.encode(), b"labels": NUMBERS, b"data": pixels(seed), b"filenames": names}
        files[name] = python2(held)
    return files


def ten_binary() -> dict[str, bytes]:
    files = {"batches.meta.txt": b"airplane\nautomobile\n\n"}
    for seed, name in enumerate(BATCHES):
        rows = zip(NUMBERS, pixels(seed), strict=True)
        files[f"{name}.bin"] = b"".join(bytes([label]) + row.tobytes() for label, row in rows)
    return files


def folder(where: Path, files: dict[str, bytes]) -> Path:
    where.mkdir(parents=True)
    for name, content in files.items():
        (where / name).write_bytes(content)
    return where


def archive(path: Path, files: dict[str, bytes], inside: str = "cifar-10-batches-py/") -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for name, content in files.items():
            member = tarfile.TarInfo(inside + name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.slow
def test_prepare_gives_one_split_when_cifar_comes_in_any_form(
    tmp_path: Path, workspace: Workspace, gather: Gather
) -> None:
    sources = (
        folder(tmp_path / "cifar-10-batches-py", ten_python()),
        archive(tmp_path / "cifar-10-python.tar.gz", ten_python()),
        folder(tmp_path / "cifar-10-batches-bin", ten_binary()),
        archive(tmp_path / "cifar-10-binary.tar.gz", ten_binary(), "cifar-10-batches-bin/"),
    )
    splits = [gather("cifar10", source, validation=0.2) for source in sources]
    assert len({split.digest for split in splits}) == 1
    assert splits[0].labels == ("airplane", "automobile")
    assert {subset: list(counts.values()) for subset, counts in splits[0].counts.items()} == {
        "train": [12, 12],
        "validation": [3, 3],
        "test": [3, 3],
    }
    tests = [image for image in read_manifest(splits[0], workspace) if image.subset == "test"]
    assert np.array_equal(read_image(tests[0].path), pixels(5)[0].reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize(("labels", "expected"), [("fine", ("bee", "crab", "fox")), ("coarse", ("insects", "others"))])
def test_prepare_takes_fine_or_coarse_cifar100_labels(
    tmp_path: Path, gather: Gather, labels: str, expected: tuple[str, ...]
) -> None:
    fine, coarse = [0, 1, 2] * 2, [0, 1, 1] * 2
    meta = {b"fine_label_names": [b"bee", b"crab", b"fox"], b"coarse_label_names": [b"insects", b"others"]}
    python = {"meta": python2(meta)}
    binary = {"fine_label_names.txt": b"bee\ncrab\nfox\n", "coarse_label_names.txt": b"insects\nothers\n"}
    for seed, name in enumerate(("train", "test")):
        python[name] = python2({b"data": pixels(seed), b"fine_labels": fine, b"coarse_labels": coarse})
        rows = zip(coarse, fine, pixels(seed), strict=True)
        binary[f"{name}.bin"] = b"".join(bytes(row[:2]) + row[2].tobytes() for row in rows)
    first = gather("cifar100", folder(tmp_path / "cifar-100-python", python), labels=labels, validation=0.4)
    second = gather("cifar100", folder(tmp_path / "cifar-100-binary", binary), labels=labels, validation=0.4)
    assert first.labels == expected
    assert first.digest == second.digest


def test_prepare_names_every_file_when_cifar_is_damaged(tmp_path: Path, refusal: Refusal) -> None:
    files = ten_python()
    files["data_batch_1"] = files["data_batch_1"][:-500]
    files["data_batch_2"] = python2({b"labels": NUMBERS[:-1], b"data": pixels(1)})
    files["data_batch_3"] = python2({b"labels": [0, 7] * 3, b"data": pixels(2)})
    files["data_batch_4"] = python2({b"labels": NUMBERS[:4], b"data": pixels(3)[:4]})
    files["test_batch"] = python2({b"labels": NUMBERS})
    message = refusal("cifar10", folder(tmp_path / "c", files))
    assert "data_batch_1: refused or truncated pickle" in message or "data_batch_1: truncated" in message
    assert "data_batch_2: 5 labels for 6 images" in message
    assert "data_batch_3: label 7, but there are 2 classes" in message
    assert "data_batch_4: 4 images; batches.meta says 6" in message
    assert "test_batch: its data is not an array [n, 3072]" in message


def test_prepare_refuses_when_cifar_records_are_cut(tmp_path: Path, refusal: Refusal) -> None:
    files = ten_binary()
    files["test_batch.bin"] = files["test_batch.bin"][:-1]
    del files["data_batch_5.bin"]
    assert "data_batch_5.bin: no such file in it" in refusal("cifar10", folder(tmp_path / "a", files))
    assert "not a whole number of records" in refusal(
        "cifar10", folder(tmp_path / "b", ten_binary() | {"test_batch.bin": files["test_batch.bin"]})
    )


@pytest.mark.slow
def test_prepare_refuses_a_cut_hostile_or_missing_archive(
    tmp_path: Path, workspace: Workspace, refusal: Refusal
) -> None:
    whole = archive(tmp_path / "whole.tar.gz", ten_python()).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tar.gz").write_text("dear diary")
    climbing = archive(tmp_path / "climbing.tar.gz", ten_python(), "../../etc/")
    rooted = archive(tmp_path / "rooted.tar.gz", ten_python(), "/etc/")
    assert "truncated" in refusal("cifar10", tmp_path / "cut.tar.gz")
    assert "not a tar archive" in refusal("cifar10", tmp_path / "text.tar.gz")
    assert "contains a path outside itself" in refusal("cifar10", climbing)
    assert "contains a path outside itself" in refusal("cifar10", rooted)
    assert "University of Toronto" in refusal("cifar10", tmp_path / "gone.tar.gz")
    assert not list((workspace.root / "data").iterdir())


def test_prepare_refuses_an_archive_that_expands_without_end(tmp_path: Path, refusal: Refusal) -> None:
    """By its headers, before anything is unpacked."""
    huge = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
    huge.size = 2 << 30
    packed = gzip.compress(huge.tobuf() + bytes(1 << 16))
    (tmp_path / "bomb.tar.gz").write_bytes(packed)
    assert "expands beyond the limit of 1 GiB" in refusal("cifar10", tmp_path / "bomb.tar.gz")
    assert len(packed) < 1000


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_read_pickle_calls_nothing_when_the_pickle_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="system, which no CIFAR file needs"):
        read_pickle(pickle.dumps({"data": Hostile()}, protocol))
    assert not list(tmp_path.iterdir())


def test_read_pickle_reads_it_when_a_newer_python_wrote_it() -> None:
    held = read_pickle(pickle.dumps({"data": pixels(0), "labels": [1]}, 2))
    assert np.array_equal(held["data"], pixels(0))
    assert held["labels"] == [1]


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02", b"\x80\x02].", b"\x80\x02}(U\x04data", random.Random(0).randbytes(64)]
)
def test_read_pickle_refuses_when_it_is_no_dictionary(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_pickle(content)
