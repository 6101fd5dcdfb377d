from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.artifacts.dataset import Split
from toolkit.data import read_manifest
from toolkit.data.materialize import encode_png
from toolkit.device.image_io import read_image
from toolkit.workspace import Workspace

Gather = Callable[..., Split]
Refusal = Callable[..., str]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def labels(count: int) -> np.ndarray:
    return (np.arange(count) % 2).astype(np.uint8)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """Laid out as Debian lays out Fashion-MNIST: 20 images to train on, 6 to test with, two classes."""
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for name, count, seed in (("train", 20, 1), ("t10k", 6, 2)):
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images(count, seed))))
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels(count))))
    return folder


def test_prepare_takes_idx_validation_from_train(mnist: Path, workspace: Workspace, gather: Gather) -> None:
    split = gather("idx", mnist, classes=["T-shirt/top", "Trouser"], validation=0.2)
    assert split.name == "fashion-mnist"
    assert split.labels == ("T-shirt/top", "Trouser")
    assert {subset: list(counts.values()) for subset, counts in split.counts.items()} == {
        "train": [8, 8],
        "validation": [2, 2],
        "test": [3, 3],
    }
    tests = [image for image in read_manifest(split, workspace) if image.subset == "test"]
    assert np.array_equal(read_image(tests[0].path), np.repeat(images(6, 2)[0][..., None], 3, axis=2))
    assert all(image.path.is_relative_to(workspace.root / "data") for image in tests)


@pytest.mark.slow
def test_prepare_reads_idx_files_gzipped_or_not_alike(mnist: Path, gather: Gather) -> None:
    first = gather("idx", mnist)
    for path in list(mnist.iterdir()):
        path.with_name(path.name.removesuffix(".gz").replace("-idx", ".idx")).write_bytes(
            gzip.decompress(path.read_bytes())
        )
        path.unlink()
    assert gather("idx", mnist).digest == first.digest
    assert first.labels == ("0", "1")


def test_prepare_unpacks_once_and_again_when_an_image_is_gone(
    mnist: Path, workspace: Workspace, gather: Gather
) -> None:
    split = gather("idx", mnist)
    images = read_manifest(split, workspace)
    stamp = images[0].path.stat().st_mtime_ns
    assert gather("idx", mnist) == split
    assert images[0].path.stat().st_mtime_ns == stamp
    images[3].path.unlink()
    assert gather("idx", mnist) == split
    assert images[3].path.is_file()
    assert len(list((workspace.root / "data").iterdir())) == 1


def test_prepare_names_every_file_when_idx_files_are_missing(mnist: Path, refusal: Refusal) -> None:
    for path in mnist.glob("t10k*"):
        path.unlink()
    message = refusal("idx", mnist)
    assert "t10k-images-idx3-ubyte: no such file" in message
    assert "t10k-labels-idx1-ubyte: no such file" in message
    assert "dataset-fashion-mnist" in message


def test_prepare_names_every_file_when_idx_files_are_damaged(
    mnist: Path, workspace: Workspace, refusal: Refusal
) -> None:
    zipped = (mnist / "train-images-idx3-ubyte.gz").read_bytes()
    (mnist / "train-images-idx3-ubyte.gz").write_bytes(zipped[:-100])
    (mnist / "train-labels-idx1-ubyte.gz").write_bytes(idx(labels(20))[:-1])
    (mnist / "t10k-images-idx3-ubyte.gz").write_bytes(idx(labels(6)))
    message = refusal("idx", mnist)
    assert "train-images-idx3-ubyte.gz: truncated or damaged gzip file" in message
    assert "train-labels-idx1-ubyte.gz: truncated: 19 bytes of data, its header says 20" in message
    assert "t10k-images-idx3-ubyte.gz: wrong magic 00 00 08 01" in message
    assert not list((workspace.root / "data").iterdir())


def test_prepare_refuses_when_idx_counts_or_labels_disagree(mnist: Path, refusal: Refusal) -> None:
    (mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(labels(5)))
    message = refusal("idx", mnist, classes=["only one"])
    assert "5 labels for 6 images" in message
    assert "label 1, but data.classes names 1" in message


def test_prepare_asks_what_to_do_when_a_test_image_is_trained_on(mnist: Path, gather: Gather, refusal: Refusal) -> None:
    (mnist / "t10k-images-idx3-ubyte.gz").write_bytes(idx(np.concatenate([images(20, 1)[:2], images(4, 3)])))
    assert 'leaks = "drop"' in refusal("idx", mnist)
    counts = gather("idx", mnist, leaks="drop").counts
    assert {subset: sum(held.values()) for subset, held in counts.items()} == {"train": 16, "validation": 2, "test": 6}


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (200, 150, 3)])
def test_encode_png_is_read_back_exactly_when_decoded(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    encoded = encode_png(image)
    expected = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    assert np.array_equal(read_image(encoded), expected)
    assert np.array_equal(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), expected[..., ::-1])
