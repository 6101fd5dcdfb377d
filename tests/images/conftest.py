"""The programs of images/, and images as they stand in the engine's store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import toolkit
from toolkit import hashing

from ..bundles import copy_for_litert

REPOSITORY = Path(toolkit.__file__).parents[1]
sys.path[:0] = [str(REPOSITORY / "images"), str(REPOSITORY / "images" / "inside")]

import layout  # noqa: E402, the folder is known only now

Run = Callable[..., subprocess.CompletedProcess[str]]
PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], layout.Layout]:
    """stored("runner:dev"): the image's layout, with all its platforms."""
    layouts: dict[str, layout.Layout] = {}

    def read(name: str) -> layout.Layout:
        if name not in layouts:
            layouts[name] = layout.Layout(layout.save(f"edge-vision/{name}", tmp_path_factory.mktemp("image")))
        return layouts[name]

    return read


@pytest.fixture
def docker_run(tmp_path: Path) -> Run:
    """docker_run("runner:dev", "probe", platform=…): as documented, with a read-only root and no network."""

    def call(image: str, *argv: object, platform: str = PLATFORMS[0], options: tuple[str, ...] = ()) -> Any:
        command = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none"]
        command += ["--platform", platform, *options, image, *(str(word) for word in argv)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)

    return call


@pytest.fixture(scope="session")
def open_bundle(tiny_bundle: Path) -> Path:
    """The tiny bundle, in folders that the image's user may enter."""
    changed = [folder for folder in [tiny_bundle, *tiny_bundle.parents] if folder.stat().st_mode & 0o005 != 0o005]
    changed = [folder for folder in changed if folder.is_relative_to("/tmp")]
    for folder in changed:
        folder.chmod(folder.stat().st_mode | 0o055)
    return tiny_bundle


@pytest.fixture(scope="session")
def open_litert_bundle(open_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle for LiteRT, where the image's user may read it."""
    folder = tmp_path_factory.mktemp("litert")
    folder.chmod(0o755)
    return copy_for_litert(open_bundle, folder)


@pytest.fixture(scope="session")
def open_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and light noise with its images.json, readable by the image's user."""
    folder = tmp_path_factory.mktemp("images")
    folder.chmod(0o755)
    chooser, entries = np.random.default_rng(5), []
    for number in range(6):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), (chooser.integers(0, 120, (40, 36, 3)) + 130 * (number % 2)).astype(np.uint8))
        label = ("dark", "light")[number % 2]
        entries.append({"file": path.name, "sha256": hashing.sha256_file(path), "label": label})
    (folder / "images.json").write_text(json.dumps({"format": 1, "images": entries}))
    return folder
