from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.artifacts.dataset import Split
from toolkit.data.formats.folders import scan_folder, subset_of
from toolkit.data.formats.scan import Scan, format_ignored

Gather = Callable[..., Split]
Refusal = Callable[..., str]


def fill(folder: Path, number: int = 4) -> Path:
    """Images that differ in every folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        seed = abs(hash((str(folder), index))) % 2**32
        image = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        (folder / f"{index}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


def classes(root: Path, *labels: str) -> Path:
    for label in labels or ("cat", "dog"):
        fill(root / label)
    return root


def problems(scan: Scan) -> str:
    return "\n".join(problem.what for problem in scan.problems)


def subsets(scan: Scan) -> dict[str | None, int]:
    return {
        subset: sum(image.subset == subset for image in scan.images)
        for subset in {image.subset for image in scan.images}
    }


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("train_set", "valid-set", "test set"),
        ("training_data", "dev", "holdout"),
        ("seg_train", "seg_val", "seg_test"),
        ("Train Images", "Validation Images", "Test Images"),
        ("trainset", "valset", "testset"),
        ("TrainData", "ValidationData", "TestData"),
    ],
)
@pytest.mark.parametrize("wrapped", ["", "archive", "a/b"])
def test_scan_folder_knows_the_usual_names_of_subsets(
    tmp_path: Path, train: str, validation: str, test: str, wrapped: str
) -> None:
    for name in (train, validation, test):
        classes(tmp_path / "set" / wrapped / name)
    scan = scan_folder(tmp_path / "set")
    assert scan.problems == ()
    assert scan.labels == ("cat", "dog")
    assert subsets(scan) == {"train": 8, "validation": 8, "test": 8}


def test_scan_folder_looks_through_parts_that_hold_themselves(tmp_path: Path) -> None:
    for name in ("seg_train", "seg_test"):
        classes(tmp_path / name / name)
    assert subsets(scan_folder(tmp_path)) == {"train": 8, "test": 8}


def test_scan_folder_refuses_subsets_inside_the_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for part in ("Train", "test"):
            fill(tmp_path / name / part, 2)
    assert "has its subsets inside the class folders: cat/" in problems(scan_folder(tmp_path))


def test_scan_folder_makes_no_classes_of_subsets_without_train(tmp_path: Path) -> None:
    for name in ("Valid", "Testing"):
        classes(tmp_path / name)
    scan = scan_folder(tmp_path)
    assert problems(scan) == "no folder for train"
    assert scan.labels == ("cat", "dog")


@pytest.mark.parametrize("name", ["trainer", "latest", "vale", "train station", "contest"])
def test_part_of_leaves_other_words_alone(name: str) -> None:
    assert subset_of(name) is None


def test_prepare_makes_validation_of_train_and_test(tmp_path: Path, gather: Gather) -> None:
    for name in ("Training", "Testing"):
        classes(tmp_path / "set" / name)
    counts = gather("folders", tmp_path / "set", validation=0.25).counts
    assert counts["validation"] == {"cat": 1, "dog": 1}
    assert counts["train"] == {"cat": 3, "dog": 3}
    assert counts["test"] == {"cat": 4, "dog": 4}


def test_scan_folder_names_a_test_part_with_loose_images(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    fill(tmp_path / "test", 18)
    assert problems(scan_folder(tmp_path)) == "test/ has no class folders; its 18 images have no labels"


def test_scan_folder_names_two_folders_of_one_subset(tmp_path: Path) -> None:
    for name in ("train", "Training", "test"):
        classes(tmp_path / name)
    assert "Training and train mean the same: train" in problems(scan_folder(tmp_path))


@pytest.mark.parametrize("suffix", [".jfif", ".gif", ".JPE", ".dib", ""])
def test_scan_folder_takes_every_kind_that_is_read(tmp_path: Path, suffix: str) -> None:
    classes(tmp_path)
    kind = {".JPE": ".jpg", ".jfif": ".jpg", ".dib": ".bmp", "": ".png"}.get(suffix, suffix)
    (tmp_path / "cat" / f"odd{suffix}").write_bytes(cv2.imencode(kind, np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    scan = scan_folder(tmp_path)
    assert len(scan.images) == 9
    assert scan.ignored == ()


def test_scan_folder_accounts_for_every_file(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "readme.txt").write_text("about")
    (tmp_path / "loose.png").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    (tmp_path / "cat" / "notes.txt").write_text("cats")
    (tmp_path / "cat" / "photo.heic").write_bytes(b"heic")
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"")
    (tmp_path / "cat" / ".hidden").mkdir()
    (tmp_path / "cat" / ".hidden" / "x.png").write_bytes(b"")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    scan = scan_folder(tmp_path)
    assert {file.path.name: file.reason.split(":")[0] for file in scan.ignored} == {
        "readme.txt": "not an image",
        "loose.png": "an image beside the class folders, without a class",
        "notes.txt": "not an image",
        "photo.heic": "an image format that cannot be read",
        ".DS_Store": "hidden or made by the operating system",
        "x.png": "hidden or made by the operating system",
        "gone.png": "a link that leads nowhere",
        "pipe.png": "not a regular file",
    }
    assert len(scan.images) == 8
    assert "ignored 2 files: not an image (such as readme.txt)" in list(format_ignored(scan.ignored, tmp_path))


def test_scan_folder_names_the_folder_that_holds_all_images(tmp_path: Path) -> None:
    classes(tmp_path / "images" / "train")
    classes(tmp_path / "images" / "test")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "boxes.txt").write_text("")
    problem = scan_folder(tmp_path).problems[-1]
    assert (problem.where, problem.what) == (str(tmp_path / "images"), "holds all images, in 2 folders")


def test_scan_folder_names_a_list_beside_loose_images(tmp_path: Path) -> None:
    classes(tmp_path / "elsewhere")
    (tmp_path / "set").mkdir()
    for number in range(4):
        (tmp_path / "elsewhere" / "cat" / f"{number}.png").rename(tmp_path / "set" / f"{number}.png")
    (tmp_path / "set" / "labels.csv").write_text("path,label\n")
    problem = scan_folder(tmp_path / "set").problems[-1]
    assert problem.where == str(tmp_path / "set" / "labels.csv")


@pytest.mark.parametrize(
    ("name", "what"), [("set.zip", "an archive"), ("set.tar", "an archive"), ("0.png", "an image")]
)
def test_scan_folder_says_what_is_no_folder(tmp_path: Path, name: str, what: str) -> None:
    classes(tmp_path / "set")
    if name.startswith("set"):
        shutil.make_archive(str(tmp_path / "set"), Path(name).suffix[1:], tmp_path / "set")
    else:
        (tmp_path / "set" / "cat" / name).rename(tmp_path / name)
    (problem,) = scan_folder(tmp_path / name).problems
    assert problem.what.startswith(f"is {what}")


def test_scan_folder_leaves_a_workspace_out(tmp_path: Path) -> None:
    classes(tmp_path)
    (tmp_path / "workspace" / "runs").mkdir(parents=True)
    (tmp_path / "workspace" / "runs" / "examples.png").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    (tmp_path / "workspace" / "toolkit.db").write_bytes(b"")
    scan = scan_folder(tmp_path)
    assert scan.labels == ("cat", "dog")
    assert [(file.path.name, file.reason) for file in scan.ignored] == [("workspace", "a workspace of the toolkit")]


def test_prepare_reports_what_it_ignores(tmp_path: Path, gather: Gather, capsys: pytest.CaptureFixture[str]) -> None:
    from toolkit.data import prepare_dataset
    from toolkit.experiment.schema import DataConfig
    from toolkit.progress import Silent
    from toolkit.workspace import Workspace

    for label in ("cat", "dog"):
        fill(tmp_path / "set" / label, 12)
    shutil.copy(tmp_path / "set" / "cat" / "0.png", tmp_path / "set" / "loose.png")
    progress = Silent()
    table = DataConfig(source="folders", path=tmp_path / "set")
    prepare_dataset(table, tmp_path / "x.toml", Workspace(tmp_path / "workspace"), progress)
    assert progress.messages[:2] == [
        "files: 24 used, 1 ignored, 0 refused",
        "ignored 1 file: an image beside the class folders, without a class (loose.png)",
    ]


def test_scan_folder_follows_links_to_folders_and_files(tmp_path: Path) -> None:
    root = classes(tmp_path / "set")
    fill(tmp_path / "elsewhere" / "more")
    (root / "cat" / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "bird").symlink_to(tmp_path / "elsewhere" / "more")
    (root / "dog" / "same.png").symlink_to(root / "dog" / "0.png")
    (root / "dog" / "loop").symlink_to(root)
    scan = scan_folder(root)
    assert len([image for image in scan.images if image.label == "cat"]) == 8
    assert len([image for image in scan.images if image.label == "bird"]) == 4
    assert [(file.path.name, file.reason) for file in scan.ignored] == [
        ("loop", "a link to a folder that it lies in"),
    ]


def test_scan_folder_takes_a_class_called_train(tmp_path: Path) -> None:
    scan = scan_folder(classes(tmp_path, "bus", "car", "train"))
    assert scan.problems == ()
    assert scan.labels == ("bus", "car", "train")


def test_scan_folder_explains_a_class_beside_the_subsets(tmp_path: Path) -> None:
    for name in ("train", "test"):
        classes(tmp_path / name)
    fill(tmp_path / "bus")
    (problem,) = scan_folder(tmp_path).problems
    assert problem.what == "is beside the subsets but is not one of them"
    assert problem.where.endswith("bus")
    assert "if a class is called like a subset, rename the class" in problem.remedy


def test_scan_folder_explains_classes_that_differ_by_a_space(tmp_path: Path) -> None:
    scan = scan_folder(classes(tmp_path, "cat", "cat ", "dog"))
    assert "'cat' and 'cat ' look like one class; they differ only by a leading or trailing space" in problems(scan)


def test_scan_folder_explains_classes_that_differ_in_encoding(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    assert "composed or decomposed" in problems(scan_folder(classes(tmp_path / "one", *names, "tea")))
    for subset, name in zip(("train", "test"), names, strict=True):
        classes(tmp_path / "two" / subset, name, "tea")
    scan = scan_folder(tmp_path / "two")
    assert scan.problems == ()
    assert scan.labels == (names[0], "tea")


def test_scan_folder_explains_classes_that_differ_in_case(tmp_path: Path) -> None:
    assert "'Cat' and 'cat' differ only in upper and lower case" in problems(
        scan_folder(classes(tmp_path, "Cat", "cat"))
    )


@pytest.mark.slow
def test_prepare_refuses_an_image_bomb_from_its_header(tmp_path: Path, refusal: Refusal, gather: Gather) -> None:
    for label in ("cat", "dog"):
        fill(tmp_path / "set" / label, 12)
    large = cv2.imencode(".png", np.zeros((18_000, 18_000), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    (tmp_path / "set" / "cat" / "bomb.png").write_bytes(large)
    message = refusal("folders", tmp_path / "set")
    assert "bomb.png: 18000 x 18000 pixels need 972 MB of memory, more than the limit of 400 MB" in message
    assert "scale the image down, or raise data.max_image_mb" in message
    (tmp_path / "set" / "cat" / "bomb.png").unlink()
    assert "more than the limit of 0 MB" in refusal("folders", tmp_path / "set", max_image_mb=1e-4)
    assert gather("folders", tmp_path / "set", max_image_mb=1).counts["train"] == {"cat": 8, "dog": 8}
