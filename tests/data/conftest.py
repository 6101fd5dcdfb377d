"""Small data sets of real image files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.artifacts.dataset import Split
from toolkit.data import prepare_dataset
from toolkit.errors import DataError
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Silent
from toolkit.workspace import Workspace

Maker = Callable[..., Path]


def write_image(path: Path, seed: int) -> Path:
    """A small image of noise that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


@pytest.fixture
def image() -> Callable[[Path, int], Path]:
    return write_image


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of 20, not divided."""
    for number in range(20):
        write_image(tmp_path / "pets" / "cat" / f"p{number // 2:02}_{number}.png", number)
        write_image(tmp_path / "pets" / "dog" / f"q{number // 2:02}_{number}.jpg", 100 + number)
    return tmp_path / "pets"


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """Two classes in three subsets, spelled as people do."""
    for subset_number, subset in enumerate(("Train", "valid", "test")):
        for label_number, label in enumerate(("cat", "dog")):
            for number in range(3):
                seed = 100 * subset_number + 10 * label_number + number
                write_image(tmp_path / "divided" / subset / label / f"{number}.png", seed)
    return tmp_path / "divided"


Gather = Callable[..., Split]


@pytest.fixture
def gather(workspace: Workspace) -> Gather:
    """Prepare a data set of any source at `path`."""

    def prepared(source: str, path: Path, **settings: object) -> Split:
        table = DataConfig.model_validate({"source": source, "path": path, **settings})
        return prepare_dataset(table, path.parent / "experiment.toml", workspace, Silent())

    return prepared


@pytest.fixture
def refusal(gather: Gather) -> Callable[..., str]:
    """What the error says when that is tried; every problem must have a place and a remedy."""

    def refused(source: str, path: Path, **settings: object) -> str:
        with pytest.raises(DataError) as caught:
            gather(source, path, **settings)
        assert all(problem.where and problem.remedy for problem in caught.value.problems)
        return str(caught.value)

    return refused
