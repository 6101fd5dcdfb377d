from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from toolkit.data import Image, load_images, loading, prepare_dataset, read_manifest
from toolkit.device.image_io import read_image, resize
from toolkit.errors import ConfigurationError, DataError
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Lines, Silent
from toolkit.workspace import Workspace


@pytest.fixture
def images(pets: Path, workspace: Workspace) -> tuple[Image, ...]:
    table = DataConfig(source="folders", path=pets)
    return read_manifest(prepare_dataset(table, pets.parent / "experiment.toml", workspace, Silent()), workspace)


@pytest.mark.parametrize("crop", ["resize", "center"])
def test_load_images_is_what_devices_see_when_loaded(images: tuple[Image, ...], crop: str) -> None:
    loaded = load_images(images, (9, 8), crop)
    assert loaded.shape == (40, 9, 8, 3)
    assert loaded.dtype == np.uint8
    for index in (0, 39):
        assert np.array_equal(loaded[index], resize(read_image(images[index].path), (9, 8), crop))


def test_load_images_maps_the_same_array_when_called_twice(images: tuple[Image, ...], workspace: Workspace) -> None:
    first = load_images(images, (8, 8), "resize", workspace=workspace)
    for image in images:
        image.path.unlink()
    second = load_images(images, (8, 8), "resize", workspace=workspace)
    assert isinstance(second, np.memmap)
    assert np.array_equal(first, second)


def test_load_images_decodes_anew_when_order_size_or_crop_differ(
    images: tuple[Image, ...], workspace: Workspace
) -> None:
    first = load_images(images, (8, 8), "resize", workspace=workspace)
    back = load_images(images[::-1], (8, 8), "resize", workspace=workspace)
    assert np.array_equal(first, back[::-1])
    load_images(images, (8, 9), "resize", workspace=workspace)
    load_images(images, (8, 8), "center", workspace=workspace)
    assert len(list((workspace.root / "cache" / "images").glob("*.npy"))) == 4


def test_load_images_decodes_only_new_ones(images: tuple[Image, ...], workspace: Workspace) -> None:
    whole = load_images(images, (8, 8), "resize")
    load_images(images[:10], (8, 8), "resize", workspace=workspace)
    load_images(images[20:30], (8, 8), "resize", workspace=workspace)
    for image in (*images[:10], *images[20:30]):
        image.path.unlink()
    assert np.array_equal(load_images(images[::-1], (8, 8), "resize", workspace=workspace)[::-1], whole)
    (damaged, *_) = sorted((workspace.root / "cache" / "images").glob("*.npy"), key=lambda one: one.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert np.array_equal(load_images(images[5:25], (8, 8), "resize", workspace=workspace), whole[5:25])


def test_load_images_decodes_anew_when_the_kept_array_is_damaged(
    images: tuple[Image, ...], workspace: Workspace
) -> None:
    first = np.array(load_images(images, (8, 8), "resize", workspace=workspace))
    (cached,) = (workspace.root / "cache" / "images").glob("*.npy")
    cached.write_bytes(cached.read_bytes()[:500])
    assert np.array_equal(load_images(images, (8, 8), "resize", workspace=workspace), first)


def test_load_images_names_every_changed_or_missing_image(images: tuple[Image, ...], workspace: Workspace) -> None:
    images[0].path.unlink()
    images[1].path.write_bytes(images[2].path.read_bytes())
    with pytest.raises(DataError) as caught:
        load_images(images, (8, 8), "resize", workspace=workspace)
    assert {problem.where for problem in caught.value.problems} == {str(image.path) for image in images[:2]}
    assert "changed since the split was made" in str(caught.value)
    assert not list((workspace.root / "cache" / "images").iterdir())


@pytest.mark.parametrize("free_bytes", [2 * 40 * 8 * 8 * 3, 2 * 40 * 8 * 8 * 3 - 2])
def test_load_images_caches_at_most_half_of_the_free_disk(
    images: tuple[Image, ...], workspace: Workspace, monkeypatch: pytest.MonkeyPatch, free_bytes: int
) -> None:
    free = shutil.disk_usage(workspace.root.parent)._replace(free=free_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    loaded = load_images(images, (8, 8), "resize", workspace=workspace)
    assert isinstance(loaded, np.memmap) == (free_bytes == 2 * 40 * 8 * 8 * 3)
    assert len(list((workspace.root / "cache/images").glob("*.npy"))) == isinstance(loaded, np.memmap)


def test_images_beyond_the_budget_are_indexed_as_an_array_is(
    images: tuple[Image, ...], workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(loading.BUDGET, "1e-6")
    loaded, whole = (
        load_images(images, (9, 8), "resize", workspace=workspace, progress=Lines()),
        load_images(images, (9, 8), "resize"),
    )
    assert "40 images take 8.6 kB decoded, more than 1.0 kB" in capsys.readouterr().err
    assert (len(loaded), loaded.shape, loaded.dtype) == (40, whole.shape, whole.dtype)
    for index in (3, -1, slice(5, 25), slice(39, 50), [7, 2, 7], np.array([1, 38]), np.array([], int)):
        assert np.array_equal(loaded[index], whole[index])
    assert np.array_equal(np.stack(list(loaded)), whole)
    images[4].path.write_bytes(images[2].path.read_bytes())
    with pytest.raises(DataError, match="changed since the split was made"):
        loaded[:5]


def test_images_cached_before_are_used_whatever_the_budget(
    images: tuple[Image, ...], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_images(images, (8, 8), "resize", workspace=workspace)
    monkeypatch.setenv(loading.BUDGET, "0")
    assert isinstance(load_images(images, (8, 8), "resize", workspace=workspace), np.memmap)


@pytest.mark.parametrize("budget", ["much", "nan", "inf"])
def test_budget_that_is_no_number_is_refused(
    images: tuple[Image, ...], workspace: Workspace, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    monkeypatch.setenv(loading.BUDGET, budget)
    with pytest.raises(ConfigurationError, match=f"TOOLKIT_IMAGE_CACHE_GB: '{budget}' is not a number"):
        load_images(images, (8, 8), "resize", workspace=workspace)


def test_load_images_is_empty_when_there_are_none() -> None:
    assert load_images((), (4, 5), "resize").shape == (0, 4, 5, 3)
