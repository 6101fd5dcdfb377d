from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.artifacts import Workspace
from toolkit.data import Picture, load_pictures, prepare, read_manifest
from toolkit.device.image_io import fit, read_picture
from toolkit.errors import DataError
from toolkit.experiment.schema import DataTable
from toolkit.progress import Silent


@pytest.fixture
def pictures(pets: Path, workspace: Workspace) -> tuple[Picture, ...]:
    table = DataTable(source="folders", path=pets)
    return read_manifest(prepare(table, pets.parent / "experiment.toml", workspace, Silent()), workspace)


@pytest.mark.parametrize("crop", ["resize", "centre"])
def test_load_pictures_is_what_devices_see_when_loaded(pictures: tuple[Picture, ...], crop: str) -> None:
    loaded = load_pictures(pictures, (9, 8), crop)
    assert loaded.shape == (40, 9, 8, 3)
    assert loaded.dtype == np.uint8
    for index in (0, 39):
        assert np.array_equal(loaded[index], fit(read_picture(pictures[index].path), (9, 8), crop))


def test_load_pictures_maps_the_same_array_when_called_twice(
    pictures: tuple[Picture, ...], workspace: Workspace
) -> None:
    first = load_pictures(pictures, (8, 8), "resize", workspace=workspace)
    for picture in pictures:
        picture.path.unlink()
    second = load_pictures(pictures, (8, 8), "resize", workspace=workspace)
    assert isinstance(second, np.memmap)
    assert np.array_equal(first, second)


def test_load_pictures_decodes_anew_when_order_size_or_crop_differ(
    pictures: tuple[Picture, ...], workspace: Workspace
) -> None:
    first = load_pictures(pictures, (8, 8), "resize", workspace=workspace)
    back = load_pictures(pictures[::-1], (8, 8), "resize", workspace=workspace)
    assert np.array_equal(first, back[::-1])
    load_pictures(pictures, (8, 9), "resize", workspace=workspace)
    load_pictures(pictures, (8, 8), "centre", workspace=workspace)
    assert len(list((workspace.root / "cache" / "pictures").iterdir())) == 4


def test_load_pictures_decodes_anew_when_the_kept_array_is_damaged(
    pictures: tuple[Picture, ...], workspace: Workspace
) -> None:
    first = np.array(load_pictures(pictures, (8, 8), "resize", workspace=workspace))
    (kept,) = (workspace.root / "cache" / "pictures").iterdir()
    kept.write_bytes(kept.read_bytes()[:500])
    assert np.array_equal(load_pictures(pictures, (8, 8), "resize", workspace=workspace), first)


def test_load_pictures_names_all_of_them_when_pictures_changed_or_are_gone(
    pictures: tuple[Picture, ...], workspace: Workspace
) -> None:
    pictures[0].path.unlink()
    pictures[1].path.write_bytes(pictures[2].path.read_bytes())
    with pytest.raises(DataError) as caught:
        load_pictures(pictures, (8, 8), "resize", workspace=workspace)
    assert {problem.where for problem in caught.value.problems} == {str(picture.path) for picture in pictures[:2]}
    assert "changed since the split was made" in str(caught.value)
    assert not list((workspace.root / "cache" / "pictures").iterdir())


def test_load_pictures_is_empty_when_there_are_none() -> None:
    assert load_pictures((), (4, 5), "resize").shape == (0, 4, 5, 3)
