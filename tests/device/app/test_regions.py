from __future__ import annotations

import numpy as np
import pytest

from toolkit.device.app.regions import Region, cover, read_region

Edges = tuple[float, float, float, float]
Span = tuple[int, int]


@pytest.mark.parametrize(
    ("edges", "rows", "columns"),
    [
        ((0, 0, 1, 1), (0, 10), (0, 20)),
        ((0.5, 0, 1, 1), (0, 10), (10, 20)),
        ((0.29, 0.3, 0.7, 0.6), (3, 6), (5, 14)),
        ((0.26, 0.35, 0.74, 0.55), (3, 6), (5, 15)),  # pixels that are covered in part count
        ((0.999, 0.999, 1, 1), (9, 10), (19, 20)),
        ((0, 0, 1e-9, 1e-9), (0, 1), (0, 1)),
    ],
)
def test_a_region_is_cut_alike_from_every_size(edges: Edges, rows: Span, columns: Span) -> None:
    assert Region(*edges).box(10, 20) == (slice(*rows), slice(*columns))


@pytest.mark.parametrize("length", [1, 7, 29, 100, 719, 1280])
def test_a_whole_side_is_never_cut_short(length: int) -> None:
    for parts in range(1, 40):
        spans = [Region(0, k / parts, 1, (k + 1) / parts).box(length * parts, 1)[0] for k in range(parts)]
        assert [span.start for span in spans] == [k * length for k in range(parts)]
        assert [span.stop for span in spans] == [(k + 1) * length for k in range(parts)]


def test_cut_is_a_view_and_cover_is_a_copy() -> None:
    image = np.full((10, 20, 3), 200, np.uint8)
    region = read_region([0.5, 0, 1, 0.5])
    assert np.shares_memory(region.cut(image), image)
    covered = cover(image, [region, read_region([0, 0.9, 1, 1])])
    assert region.cut(covered).max() == 0
    assert covered[9].max() == 0
    assert covered[5:9].min() == covered[:5, :10].min() == 200
    assert image.min() == 200


@pytest.mark.parametrize(
    "value",
    ["0 0 1 1", [0, 0, 1], [0, 0, 1, "1"], [0, 0, 1, True], [0.5, 0, 0.5, 1], [0, 0.6, 1, 0.5], [0, 0, 1, 1.1], [float("nan"), 0, 1, 1], None],
)  # fmt: skip
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not"):
        read_region(value)
