from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.data.augmentation import rand_augment
from toolkit.data.augmentation.augment import AugmentParams, augment, augment_image, draw_params, geometry
from toolkit.experiment.training_schema import AugmentConfig

ALL = AugmentConfig(flip=True, rotate=20, zoom=0.2, crop=0.2, brightness=0.1, contrast=0.2)
STILL = AugmentParams(False, 0, 1, 1, 0, 0, 0, 1)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), dtype=np.uint8)


def changed(**params: float) -> AugmentParams:
    return AugmentParams(**{name: params.get(name, getattr(STILL, name)) for name in STILL.__slots__})


def test_augment_does_not_depend_on_the_batches(images: np.ndarray) -> None:
    indices = np.array([4, 0, 9, 2, 7, 5])
    whole = augment(images, indices, ALL, seed=3, epoch=2)
    assert whole.shape == images.shape
    assert whole.dtype == np.uint8
    for row in (0, 5):
        alone = augment(images[row : row + 1], indices[row : row + 1], ALL, seed=3, epoch=2)
        assert np.array_equal(alone[0], whole[row])
    assert not np.array_equal(whole[0], images[0])


@pytest.mark.parametrize("other", [{"seed": 4}, {"epoch": 3}, {"index": 8}])
def test_draw_differs_when_seed_epoch_or_index_do(other: dict[str, int]) -> None:
    own = {"seed": 3, "epoch": 2, "index": 7}
    assert draw_params(ALL, **own) == draw_params(ALL, **own)
    assert draw_params(ALL, **own) != draw_params(ALL, **own | other)


def test_draw_keeps_the_others_when_one_kind_is_turned_off() -> None:
    calm = ALL.model_copy(update={"rotate": 0, "flip": False})
    for index in range(20):
        one, other = draw_params(ALL, 0, 1, index), draw_params(calm, 0, 1, index)
        assert (other.degrees, other.flip) == (0, False)
        assert (one.zoom, one.scale, one.left, one.brightness) == (
            other.zoom,
            other.scale,
            other.left,
            other.brightness,
        )


def test_draw_stays_within_the_table_when_drawn_often() -> None:
    drawn = [draw_params(ALL, 0, 1, index) for index in range(400)]
    assert 150 < sum(params.flip for params in drawn) < 250
    for values, low, high in (
        ([params.degrees for params in drawn], -20, 20),
        ([params.zoom for params in drawn], 0.8, 1.2),
        ([params.scale for params in drawn], 0.8, 1),
        ([params.brightness for params in drawn], -0.1, 0.1),
        ([params.contrast for params in drawn], 0.8, 1.2),
    ):
        span = high - low
        assert low <= min(values) < low + 0.05 * span
        assert high - 0.05 * span < max(values) <= high


def test_apply_changes_nothing_when_nothing_was_drawn(images: np.ndarray) -> None:
    assert np.array_equal(augment_image(images[0], STILL), images[0])


def test_apply_mirrors_exactly_when_it_flips(images: np.ndarray) -> None:
    assert np.array_equal(augment_image(images[0], changed(flip=True)), images[0][:, ::-1])


def test_apply_turns_exactly_when_a_square_turns_by_half(images: np.ndarray) -> None:
    assert np.array_equal(augment_image(images[0], changed(degrees=180)), images[0][::-1, ::-1])


def test_apply_brightens_and_stays_in_range_when_light_changes() -> None:
    image = np.tile(np.arange(0, 250, 10, dtype=np.uint8)[None, :, None], (4, 1, 3))
    brighter = augment_image(image, changed(brightness=0.1)).astype(int)
    assert np.array_equal(brighter, np.clip(image + 25.5, 0, 255).round().astype(int))
    flatter = augment_image(image, changed(contrast=0.5))
    assert flatter.std() == pytest.approx(image.std() / 2, rel=0.02)
    assert flatter.mean() == pytest.approx(image.mean(), abs=0.6)


def test_geometry_stretches_the_kept_corner_when_it_crops() -> None:
    matrix = geometry(changed(scale=0.5, left=1, top=0), 21, 41)
    assert matrix @ [20, 0, 1] == pytest.approx([0, 0])
    assert matrix @ [40, 10, 1] == pytest.approx([40, 20])


def test_geometry_keeps_the_middle_when_it_turns_and_zooms() -> None:
    matrix = geometry(changed(degrees=30, zoom=2), 21, 41)
    assert matrix @ [20, 10, 1] == pytest.approx([20, 10])
    assert math.dist(matrix @ [25, 10, 1], [20, 10]) == pytest.approx(10)


def test_augment_table_refuses_when_nothing_is_on() -> None:
    with pytest.raises(ValidationError, match="no variation is on"):
        AugmentConfig(flip=False)


def test_draw_keeps_its_older_parameters_when_a_kind_is_added() -> None:
    more = ALL.model_copy(update={"saturation": 0.5, "hue": 0.1, "rand_augment": 9})
    one, other = draw_params(ALL, 0, 1, 5), draw_params(more, 0, 1, 5)
    assert dataclasses.replace(other, saturation=1.0, hue=0.0, operations=()) == one


def test_resized_crops_keep_area_and_aspect_within_bounds() -> None:
    table = AugmentConfig(resized_crop=0.6)
    crops = [draw_params(table, 0, 1, index) for index in range(400)]
    areas = [params.scale**2 for params in crops]
    assert 0.4 <= min(areas) < 0.45
    assert 0.97 < max(areas) <= 1
    assert 3 / 4 <= min(params.aspect for params in crops) < 0.77
    assert 1.3 < max(params.aspect for params in crops) <= 4 / 3
    assert all(0 < share <= 1 for params in crops for share in params.crop)


def test_a_resized_crop_shows_that_part_of_the_image() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:20] = 200
    upper = augment_image(image, changed(scale=0.5, aspect=4.0, top=0.0))
    assert upper.mean() > 190
    assert augment_image(image, changed(scale=0.5, aspect=4.0, top=1.0)).mean() < 10


def test_saturation_of_nothing_leaves_gray_and_hue_turns_colors() -> None:
    red = np.full((4, 4, 3), (250, 10, 10), np.uint8)
    gray = augment_image(red, changed(saturation=0.0))
    assert np.ptp(gray[0, 0].astype(int)) <= 1
    green = augment_image(red, changed(hue=1 / 3))
    assert np.abs(green[0, 0].astype(int) - (10, 250, 10)).max() <= 2


@pytest.mark.parametrize("name", rand_augment.NAMES)
@pytest.mark.parametrize("strength", [-1.0, 0.1, 1.0])
def test_every_operation_gives_an_image_of_the_same_shape(name: str, strength: float, images: np.ndarray) -> None:
    before = images[0].copy()
    changed_image = rand_augment.apply(images[0], [(name, strength)])
    assert (changed_image.shape, changed_image.dtype) == (before.shape, np.uint8)
    assert np.array_equal(images[0], before)
    weak = np.abs(rand_augment.apply(before, [(name, 0.01)]).astype(int) - before).mean()
    if name not in {"auto-contrast", "equalize", "identity"}:
        assert np.abs(rand_augment.apply(before, [(name, 1.0)]).astype(int) - before).mean() > weak


def test_rand_augment_draws_all_operations_at_its_magnitude() -> None:
    drawn = [rand_augment.draw(5, [0, 1, index, 1]) for index in range(300)]
    assert all(len(one) == rand_augment.OPERATIONS for one in drawn)
    assert {name for one in drawn for name, _ in one} == set(rand_augment.NAMES)
    assert {strength for one in drawn for _, strength in one} == {-0.5, 0.5}
    assert rand_augment.draw(5, [0, 1, 7, 1]) == drawn[7]
