from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.artifacts.dataset import Split

Gather = Callable[..., Split]
Refusal = Callable[..., str]
Write = Callable[[Path, int], Path]


@pytest.fixture
def fill(image: Write) -> Callable[..., Path]:
    """Ten images in each folder."""

    def filled(root: Path, *folders: str, suffix: str = ".jpg") -> Path:
        for seed, folder in enumerate(folders):
            for number in range(10):
                made = image(root / folder / f"image_{number:04}.jpg", 100 * seed + number)
                made.rename(made.with_suffix(suffix))
        return root

    return filled


def test_prepare_leaves_the_background_of_caltech_out(
    tmp_path: Path, fill: Callable[..., Path], gather: Gather
) -> None:
    classes = ("accordion", "BACKGROUND_Google", "wrench")
    root = fill(tmp_path / "caltech", *(f"101_ObjectCategories/{name}" for name in classes))
    assert gather("caltech", root).labels == ("accordion", "wrench")
    assert gather("caltech", root / "101_ObjectCategories", clutter=True).labels == tuple(sorted(classes))


def test_prepare_reads_caltech_256_from_an_archive_alike(
    tmp_path: Path, fill: Callable[..., Path], gather: Gather
) -> None:
    root = fill(tmp_path / "256_ObjectCategories", "001.ak47", "002.american-flag", "257.clutter")
    (root / "001.ak47" / "RENAME2").write_text("mv")
    with tarfile.open(tmp_path / "256_ObjectCategories.tar", "w") as opened:
        opened.add(root, "256_ObjectCategories")
    split = gather("caltech", root)
    assert split.labels == ("ak47", "american-flag")
    assert gather("caltech", tmp_path / "256_ObjectCategories.tar").counts == split.counts


def test_prepare_refuses_when_caltech_is_not_there(tmp_path: Path, refusal: Refusal) -> None:
    assert "no such folder" in refusal("caltech", tmp_path / "gone")
    with tarfile.open(tmp_path / "bare.tar", "w"):
        pass
    assert "contains no CLASS/image" in refusal("caltech", tmp_path / "bare.tar")


def test_prepare_tests_on_val_when_imagenet_has_no_labeled_test(
    tmp_path: Path, fill: Callable[..., Path], gather: Gather
) -> None:
    ids = ("n02110341", "n01440764")
    root = fill(
        tmp_path / "imagenet", *(f"{subset}/{one}" for subset in ("train", "val") for one in ids), suffix=".JPEG"
    )
    (root / "test").mkdir()
    (tmp_path / "words.txt").write_text("n01440764\ttench, Tinca tinca\nn02110341\tdalmatian, coach dog\nn0 other\n")
    split = gather("imagenet", root, class_names="words.txt", validation=0.2)
    assert split.labels == ("tench", "dalmatian")
    assert {subset: list(counts.values()) for subset, counts in split.counts.items()} == {
        "train": [8, 8],
        "validation": [2, 2],
        "test": [10, 10],
    }


def test_prepare_names_strange_folders_when_imagenet_has_them(
    tmp_path: Path, fill: Callable[..., Path], refusal: Refusal
) -> None:
    root = fill(tmp_path / "imagenet", "train/n01440764", "train/dogs", "val/n01440764")
    message = refusal("imagenet", root)
    assert '"dogs" is not a WordNet ID' in message
    assert 'class "dogs" has no images in test' in message
