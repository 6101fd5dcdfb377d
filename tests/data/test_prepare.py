from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.artifacts.dataset import Split
from toolkit.data import Image, prepare_dataset, read_manifest
from toolkit.errors import ConfigurationError, DataError
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Silent
from toolkit.workspace import Workspace

Write = Callable[[Path, int], Path]


def prepared(folder: Path, workspace: Workspace, progress: Silent | None = None, **settings: object) -> Split:
    table = DataConfig.model_validate({"source": "folders", "path": folder, **settings})
    return prepare_dataset(table, folder.parent / "experiment.toml", workspace, progress or Silent())


def refused(folder: Path, workspace: Workspace, **settings: object) -> str:
    """What the error says, every problem of it with place and remedy."""
    with pytest.raises(DataError) as caught:
        prepared(folder, workspace, **settings)
    assert all(problem.where and problem.remedy for problem in caught.value.problems)
    return str(caught.value)


def names(images: tuple[Image, ...]) -> list[tuple[str, str]]:
    return [(image.subset, image.path.name) for image in images]


def test_prepare_divides_class_folders_by_the_fractions(pets: Path, workspace: Workspace) -> None:
    split = prepared(pets, workspace)
    assert split.name == "pets"
    assert split.labels == ("cat", "dog")
    assert split.counts == {
        "train": {"cat": 14, "dog": 14},
        "validation": {"cat": 2, "dog": 2},
        "test": {"cat": 4, "dog": 4},
    }


def test_prepare_resolves_a_path_beside_the_experiment(pets: Path, workspace: Workspace) -> None:
    table = DataConfig(source="folders", path=Path("pets"))
    assert prepare_dataset(table, pets.parent / "experiment.toml", workspace, Silent()) == prepared(pets, workspace)


def test_prepare_keeps_the_parts_when_the_folder_has_them(divided: Path, workspace: Workspace) -> None:
    split = prepared(divided, workspace)
    assert split.counts == {subset: {"cat": 3, "dog": 3} for subset in ("train", "validation", "test")}


def test_prepare_does_nothing_and_says_so_when_nothing_changed(pets: Path, workspace: Workspace) -> None:
    first, progress = prepared(pets, workspace), Silent()
    manifest = workspace.absolute(first.path)
    stamp = manifest.stat().st_mtime_ns
    assert prepared(pets, workspace, progress) == first
    assert manifest.stat().st_mtime_ns == stamp
    assert "nothing changed" in progress.messages[-1]


def test_prepare_gives_the_same_digest_when_the_data_set_moved(pets: Path, workspace: Workspace) -> None:
    first = prepared(pets, workspace)
    moved = pets.rename(pets.with_name("elsewhere"))
    second = prepared(moved, workspace)
    assert second.digest == first.digest
    assert all(image.path.is_file() for image in read_manifest(second, workspace))


def test_prepare_gives_another_digest_when_an_image_changed(pets: Path, workspace: Workspace, image: Write) -> None:
    first = prepared(pets, workspace)
    image(pets / "cat" / "p00_0.png", 999)
    assert prepared(pets, workspace).digest != first.digest


def test_prepare_gives_another_split_when_the_seed_differs(pets: Path, workspace: Workspace) -> None:
    assert prepared(pets, workspace, seed=1).digest != prepared(pets, workspace).digest


def test_prepare_never_divides_a_group_when_one_is_named(pets: Path, workspace: Workspace) -> None:
    images = read_manifest(prepared(pets, workspace, group=r"^([pq]\d+)_"), workspace)
    groups = {(image.group, image.subset) for image in images}
    assert len(groups) == len({image.group for image in images}) == 20


def test_prepare_names_every_file_outside_the_groups(pets: Path, workspace: Workspace) -> None:
    message = refused(pets, workspace, group=r"^(p\d+)_")
    assert message.count("does not match data.group") == 20


@pytest.mark.parametrize("group", ["(", "p.._"])
def test_prepare_refuses_a_group_that_is_no_expression(pets: Path, workspace: Workspace, group: str) -> None:
    with pytest.raises(ConfigurationError, match=r"data\.group"):
        prepared(pets, workspace, group=group)


def test_prepare_refuses_when_a_group_lies_in_two_given_subsets(divided: Path, workspace: Workspace) -> None:
    assert 'group "0" is in test and train and validation' in refused(divided, workspace, group=r"^(\d)")


def test_prepare_reports_every_bad_image_when_several_are(pets: Path, workspace: Workspace) -> None:
    whole = (pets / "dog" / "q00_0.jpg").read_bytes()
    (pets / "dog" / "q00_0.jpg").write_bytes(whole[:-30])
    (pets / "dog" / "größter hund no. 1.jpg").write_bytes(b"")
    (pets / "cat" / "not a cat.png").write_text("dear diary")
    message = refused(pets, workspace)
    assert "q00_0.jpg: truncated JPEG" in message
    assert "größter hund no. 1.jpg: empty file" in message
    assert "not a cat.png: not an image" in message


def test_prepare_takes_it_when_the_bad_image_was_mended(pets: Path, workspace: Workspace) -> None:
    path = pets / "dog" / "q00_0.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    refused(pets, workspace)
    path.write_bytes(whole)
    assert prepared(pets, workspace).counts["train"]["dog"] == 14


def test_prepare_refuses_when_there_is_no_such_folder(tmp_path: Path, workspace: Workspace) -> None:
    assert "no such folder" in refused(tmp_path / "gone", workspace)


def test_prepare_refuses_when_there_are_no_images(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "bare").mkdir()
    assert "no images" in refused(tmp_path / "bare", workspace)


def test_prepare_refuses_when_a_class_folder_is_empty(pets: Path, workspace: Workspace) -> None:
    (pets / "fish").mkdir()
    (pets / "fish" / "Thumbs.db").touch()
    assert f"{pets / 'fish'}: empty class folder" in refused(pets, workspace)


def test_prepare_refuses_when_there_is_one_class(pets: Path, workspace: Workspace) -> None:
    shutil.rmtree(pets / "dog")
    assert 'only one class, "cat"' in refused(pets, workspace)


def test_prepare_refuses_when_a_part_lacks_a_class(divided: Path, workspace: Workspace) -> None:
    shutil.rmtree(divided / "test" / "dog")
    assert 'class "dog" has no images in test' in refused(divided, workspace)


def test_prepare_refuses_when_the_test_part_is_missing(divided: Path, workspace: Workspace) -> None:
    shutil.rmtree(divided / "test")
    assert "no folder for test" in refused(divided, workspace)


def test_prepare_takes_validation_from_train_when_it_is_missing(divided: Path, workspace: Workspace) -> None:
    shutil.rmtree(divided / "valid")
    counts = prepared(divided, workspace, validation=0.34).counts
    assert counts == {"train": {"cat": 2, "dog": 2}, "validation": {"cat": 1, "dog": 1}, "test": {"cat": 3, "dog": 3}}


def test_prepare_refuses_when_a_folder_lies_beside_the_subsets(divided: Path, workspace: Workspace) -> None:
    (divided / "cat").mkdir()
    assert "is beside the subsets" in refused(divided, workspace)


def test_prepare_refuses_when_an_image_leaks_into_another_subset(divided: Path, workspace: Workspace) -> None:
    shutil.copy(divided / "Train" / "cat" / "0.png", divided / "test" / "cat" / "copy.png")
    message = refused(divided, workspace)
    assert "the same image is in test and train" in message
    assert "copy.png" in message


def test_prepare_refuses_when_an_image_has_two_labels(pets: Path, workspace: Workspace) -> None:
    shutil.copy(pets / "cat" / "p00_0.png", pets / "dog" / "copy.png")
    assert "labeled cat and dog" in refused(pets, workspace)


def test_prepare_keeps_copies_in_one_part_when_it_divides(pets: Path, workspace: Workspace) -> None:
    for number in range(20):
        shutil.copy(next((pets / "cat").glob(f"p*_{number}.png")), pets / "cat" / f"copy{number}.png")
    images = read_manifest(prepared(pets, workspace), workspace)
    cats = {(image.sha256, image.subset) for image in images if image.label == 0}
    assert len(cats) == 20


def test_prepare_refuses_when_a_class_is_too_small_to_divide(pets: Path, workspace: Workspace, image: Write) -> None:
    image(pets / "fish" / "only.png", 500)
    message = refused(pets, workspace)
    assert 'class "fish" has no images in validation: 1 are too few to split' in message


def test_read_manifest_gives_parts_then_classes_when_read(pets: Path, workspace: Workspace) -> None:
    images = read_manifest(prepared(pets, workspace), workspace)
    order = ["train", "validation", "test"]
    keys = [(order.index(image.subset), image.label, str(image.path)) for image in images]
    assert keys == sorted(keys)
    assert names(images) == names(read_manifest(prepared(pets, workspace), workspace))


def test_read_manifest_refuses_when_it_was_changed_or_is_gone(pets: Path, workspace: Workspace) -> None:
    split = prepared(pets, workspace)
    path = workspace.absolute(split.path)
    content = path.read_text()
    path.write_text(content.replace('"subset":"test"', '"subset":"train"', 1))
    with pytest.raises(DataError, match="was changed"):
        read_manifest(split, workspace)
    path.write_text(content[: len(content) // 2])
    with pytest.raises(DataError, match="was changed"):
        read_manifest(split, workspace)
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        read_manifest(split, workspace)
