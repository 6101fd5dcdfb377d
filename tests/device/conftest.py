"""A release as a device has it, images to measure on, and the device code as a real process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import toolkit
from toolkit import hashing
from toolkit.bundle.release import release_tree

REPOSITORY = Path(toolkit.__file__).parents[1]
IMAGES = 12


@dataclass(frozen=True)
class Answer:
    """What a command of the device code came to."""

    code: int
    document: dict[str, Any]
    talk: str


Run = Callable[..., Answer]


@pytest.fixture
def release(tiny_bundle: Path, tmp_path: Path) -> Path:
    """ROOT/releases/<digest>, as deploy assembles it."""
    tree = release_tree(tiny_bundle)
    folder = tmp_path / "root" / "releases" / tree.digest
    for file in tree.files:
        place = folder / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file.source, bytes):
            place.write_bytes(file.source)
        else:
            shutil.copyfile(file.source, place)
    return folder


@pytest.fixture(scope="session")
def failing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that loads and fails at every query: it reshapes by what is on the image."""
    import openvino
    from openvino import opset8 as ops

    image = ops.parameter([1, 32, 32, 3], np.uint8, name="image")
    values = ops.convert(image, np.float32)
    shape = ops.convert(ops.add(ops.reduce_mean(values, np.array([0, 1, 2])), np.ones(3, np.float32)), np.int64)
    mean = ops.reduce_mean(ops.reshape(values, shape, False), np.array([0, 1, 2]))
    path = tmp_path_factory.mktemp("failing") / "model.xml"
    model = openvino.Model([ops.result(ops.reshape(mean, np.array([1, 1]), False))], [image], "failing")
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and light noise with its images.json."""
    folder = tmp_path_factory.mktemp("images")
    chooser = np.random.default_rng(5)
    entries = []
    for number in range(IMAGES):
        light = number % 2
        path = folder / f"{number:06d}.png"
        cv2.imwrite(str(path), (chooser.integers(0, 120, (40, 36, 3)) + 130 * light).astype(np.uint8))
        entries.append({"file": path.name, "sha256": hashing.sha256_file(path), "label": ("dark", "light")[light]})
    (folder / "images.json").write_text(json.dumps({"format": 1, "images": entries}))
    return folder


def device_argv(*argv: object) -> list[str]:
    return [sys.executable, "-B", "-m", "toolkit.device", *(str(word) for word in argv)]


@pytest.fixture
def run() -> Run:
    """run("golden", release) in the repository."""

    def call(*argv: object, environment: dict[str, str] | None = None) -> Answer:
        done = subprocess.run(
            device_argv(*argv),
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | (environment or {}),
            check=False,
        )
        return Answer(done.returncode, json.loads(done.stdout), done.stderr)

    return call


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """start("bench", …): the same, not waited for."""

    def call(*argv: object, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            device_argv(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, **more
        )

    return call
