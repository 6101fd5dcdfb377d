from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit import hashing
from toolkit.artifacts.captured_image import CapturedImage
from toolkit.captures import image_path
from toolkit.data.near_duplicates import perceptual_hash
from toolkit.experiment.load import load_experiment
from toolkit.experiment.schema import Experiment
from toolkit.store import Store
from toolkit.workspace import Workspace

COLORS = {"blue": (200, 60, 60), "red": (60, 60, 200)}
EXPERIMENT = """
name = "colors"
[data]
source = "folders"
path = "images"
split = { train = 0.5, validation = 0.25, test = 0.25 }
"""


def draw(color: str, seed: int) -> np.ndarray:
    """Blocks of random light in one color; no two seeds look alike."""
    light = np.random.default_rng(seed).uniform(0.2, 1, (6, 6, 1))
    return cv2.resize((light * np.array(COLORS[color])).astype(np.uint8), (48, 48), interpolation=cv2.INTER_NEAREST)


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with Store(workspace.database) as opened:
        yield opened


@pytest.fixture
def plan(tmp_path: Path) -> Experiment:
    """Eight images of each color, and an experiment on them."""
    for number in range(16):
        color = ("blue", "red")[number % 2]
        (tmp_path / "images" / color).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / color / f"{number}.png"), draw(color, number))
    (tmp_path / "colors.toml").write_text(EXPERIMENT)
    return load_experiment(tmp_path / "colors.toml")


Capturing = Callable[..., CapturedImage]


@pytest.fixture
def capture(workspace: Workspace, store: Store) -> Capturing:
    """capture(color, seed, …): one more collected capture."""

    def add(
        color: str, seed: int, *, device: str = "pi-1", hour: int = 9, policy: str = "unsure", image: object = None
    ) -> CapturedImage:
        pixels = draw(color, seed) if image is None else image
        content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        digest = hashing.sha256_bytes(content)
        path = image_path(workspace, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        one = CapturedImage(
            digest=digest,
            parent="c" * 64,
            device=device,
            camera="cam",
            time=f"2026-11-30T{hour:02}:{seed % 60:02}:00+00:00",
            clock_synchronized=True,
            policy=policy,
            label="red",
            confidence=0.6,
            probabilities=(0.4, 0.6),
            score=0.6,
            perceptual_hash=perceptual_hash(cv2.cvtColor(np.asarray(pixels), cv2.COLOR_BGR2RGB)),
            collected_at="2026-11-30T12:00:00+00:00",
        )
        store.put(one)
        return one

    return add
