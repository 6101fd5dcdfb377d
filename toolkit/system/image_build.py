"""Build the container images of `images/`, from the checkout or from the installed package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import toolkit
from toolkit.files import shipped_folder

_PACKAGE = Path(toolkit.__file__).parent
_STDERR = 2
_SHIPPED = ("images", "models", "requirements")
"""Folders of the checkout that the wheel puts into the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBuild:
    """How a build ended: its exit code, and the digest of each image that was built, by name."""

    exit_code: int
    images: dict[str, str]


def build_images(arguments: Sequence[str]) -> ImageBuild:
    """Build the targets in `arguments`, which may contain options of `docker buildx bake`.

    images/build.py does it, whose output all goes to stderr.

    Raises:
        MachineError: this installation has no folder `images`.
    """
    with _sources() as (program, environment), tempfile.TemporaryDirectory(prefix="toolkit-build-") as temporary:
        metadata = Path(temporary, "metadata.json")
        command = [sys.executable, str(program), *arguments, "--metadata-file", str(metadata)]
        done = subprocess.run(command, env=environment, check=False, stdout=_STDERR)
        built = json.loads(metadata.read_text()) if metadata.exists() else {}
    return ImageBuild(exit_code=done.returncode, images=_digests(built))


def _digests(built: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the digests in buildx's metadata; a target that stores no image has no name."""
    return {
        name.removeprefix("docker.io/"): target["containerimage.digest"]
        for target in built.values()
        if "containerimage.digest" in target
        for name in target.get("image.name", "").split(",")
        if name
    }


@contextmanager
def _sources() -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the building program and its environment; from a wheel, with the sources laid out as in a checkout."""
    program = shipped_folder("images", "build.py", "sources of the container images") / "build.py"
    if not program.is_relative_to(_PACKAGE):
        yield program, dict(os.environ)
        return
    with tempfile.TemporaryDirectory(prefix="toolkit-sources-") as folder:
        _lay_out(Path(folder))
        stated = {"VERSION": toolkit.__version__, "REVISION": "unknown", "SOURCE": ""}
        yield program, {**stated, **os.environ, "REPOSITORY": folder}


def _lay_out(folder: Path) -> None:
    """Copy the package's parts to where they are in a checkout."""
    ignored = shutil.ignore_patterns("__pycache__")
    for part in _SHIPPED:
        shutil.copytree(_PACKAGE / part, folder / part, ignore=ignored)

    def beside(place: str, names: list[str]) -> set[str]:
        left_out = {*_SHIPPED, "ansible"} if Path(place) == _PACKAGE else set()
        return ignored(place, names) | (left_out & {*names})

    shutil.copytree(_PACKAGE, folder / "toolkit", ignore=beside)
