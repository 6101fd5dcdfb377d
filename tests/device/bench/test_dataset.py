from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.device.bench.dataset import (
    LOG_AT_MOST,
    LOG_EVERY,
    POOL,
    LabeledImage,
    SampleOrder,
    is_logged,
    read_image_set,
)
from toolkit.device.errors import DeviceError

SETS = [(0, 1), (1, 2), (7, 40), (2**32, 255), (3, 256), (4, 257), (5, 2000)]
"""Seeds, and how many images there are. (No hypothesis here: these tests also run where only the device's part is.)"""


@pytest.mark.parametrize(("seed", "count"), SETS)
def test_order_draws_from_a_pool_that_fits_memory(seed: int, count: int) -> None:
    order = SampleOrder(seed, count)
    assert len(order.pool) == len(set(order.pool)) == min(count, POOL)
    assert set(order.first(500)) <= set(order.pool) <= set(range(count))


@pytest.mark.parametrize("queries", [1, 8, 9, 511, 512, 513, 1500])
@pytest.mark.parametrize(("seed", "count"), SETS)
def test_logged_covers_every_query_that_a_run_of_any_length_logs(seed: int, count: int, queries: int) -> None:
    order = SampleOrder(seed, count)
    asked = {image for query, image in enumerate(order.first(queries)) if is_logged(query)}
    assert asked <= set(order.logged())
    assert len(order.logged()) <= LOG_AT_MOST


def test_order_is_drawn_with_replacement() -> None:
    drawn = SampleOrder(0, 100).first(1000)
    assert len(set(drawn)) > 90
    assert len(drawn) == 1000


def test_order_stays_what_it_is() -> None:
    """Pinned: a record names the seed alone, so the same seed must mean the same order for ever."""
    assert SampleOrder(0, 10).first(12) == [4, 0, 1, 8, 9, 2, 7, 5, 9, 3, 2, 0]
    assert LOG_EVERY == 8


def test_read_images_sums_powers_of_two_when_labels_are_many(tmp_path: Path) -> None:
    def listed(**entry: Any) -> Path:
        content = {"format": 1, "images": [{"file": "0.png", "sha256": "ab", **entry}]}
        (tmp_path / "images.json").write_text(json.dumps(content))
        return tmp_path

    labels = ("cat", "dog", "sofa")
    (one,) = read_image_set(listed(labels=["cat", "sofa"], unsure=["dog"]), labels).images
    assert one == LabeledImage(tmp_path / "0.png", "ab", 0b101, 0b010, multi_label=True)
    (none,) = read_image_set(listed(labels=[], unsure=[]), labels).images
    assert (none.label, none.multi_label) == (0, True)
    (single,) = read_image_set(listed(label="sofa"), labels).images
    assert (single.label, single.multi_label) == (2, False)
    with pytest.raises(DeviceError, match='no label "bird"'):
        read_image_set(listed(labels=["bird"], unsure=[]), labels)
