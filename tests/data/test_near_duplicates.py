from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.artifacts.dataset import Split
from toolkit.data import prepare_dataset
from toolkit.data.near_duplicates import candidate_pairs, confirm_pairs, perceptual_hash
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Silent
from toolkit.workspace import Workspace

Gather = Callable[..., Split]


def scene(seed: int, size: int = 96) -> np.ndarray:
    """Soft shapes, as photographs have them, rather than noise."""
    noise = np.random.default_rng(seed).normal(0, 1, (12, 12, 3)).astype(np.float32)
    large = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 50 * large, 0, 255).astype(np.uint8)


def write(path: Path, image: np.ndarray, quality: int = 95) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    path.write_bytes(cv2.imencode(path.suffix, image, options)[1].tobytes())
    return path


def distance(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return (one ^ other).bit_count()


def test_perceptual_hash_survives_resizing_and_lighting() -> None:
    image = scene(1)
    kin = (cv2.resize(image, (70, 64)), (image * 0.7 + 20).astype(np.uint8), cv2.GaussianBlur(image, (3, 3), 0))
    assert all(distance(perceptual_hash(image), perceptual_hash(other)) <= 3 for other in kin)
    assert all(distance(perceptual_hash(image), perceptual_hash(scene(seed))) > 8 for seed in range(2, 40))


def test_perceptual_hash_is_none_for_a_flat_image() -> None:
    assert perceptual_hash(np.full((9, 9, 3), 77, np.uint8)) is None


def test_candidate_pairs_equals_brute_force() -> None:
    rng = np.random.default_rng(0)
    hashes: list[int | None] = [int(value) for value in rng.integers(0, 2**63, 200)]
    for _ in range(60):
        flips = rng.choice(64, int(rng.integers(0, 6)), replace=False)
        hashes.append(int(hashes[int(rng.integers(200))] or 0) ^ sum(1 << int(bit) for bit in flips))
    hashes += [None, None]
    subsets = [("train", "test")[int(number)] for number in rng.integers(0, 2, len(hashes))]
    expected = [
        (one, other)
        for one in range(260)
        for other in range(one + 1, 260)
        if subsets[one] != subsets[other] and distance(hashes[one], hashes[other]) <= 3
    ]
    assert len(expected) > 5
    assert candidate_pairs(hashes, subsets) == tuple(expected)


@pytest.mark.parametrize("hashes", [[], [5], [None, None]])
def test_find_pairs_is_empty_when_there_is_nothing_to_compare(hashes: list[int | None]) -> None:
    assert candidate_pairs(hashes, list(range(len(hashes)))) == ()


def test_find_pairs_stops_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.data.near_duplicates._MOST", 50)
    assert len(candidate_pairs([7] * 400, list(range(400)))) == 50


def test_confirm_pairs_drops_colliding_hashes(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.png", image) for n, image in enumerate((scene(1), scene(1, 80), scene(2)))]
    (pair,) = confirm_pairs([(0, 1), (0, 2)], paths, Silent())
    assert (pair.one, pair.other) == (0, 1)
    assert pair.correlation > 0.997


def test_prepare_reports_near_duplicates_and_goes_on(tmp_path: Path, workspace: Workspace) -> None:
    root = tmp_path / "scenes"
    for number, subset in enumerate(("train", "validation", "test")):
        for seed in range(4):
            write(root / subset / ("a", "b")[seed % 2] / f"{seed}.jpg", scene(100 * number + seed))
    write(root / "test" / "a" / "again.jpg", cv2.resize(scene(2), (80, 90)), quality=70)
    progress = Silent()
    table = DataConfig(source="folders", path=root)
    for _ in range(2):  # the second time hashes are recalled
        progress.messages.clear()
        prepare_dataset(table, tmp_path / "experiment.toml", workspace, progress)
        assert progress.messages[:2] == [
            "pairs of images that look the same: 1 between test and train",
            "  test/a/again.jpg and train/a/2.jpg",
        ]
