"""Read experiment files: parse, validate, and report every error with its place in the file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from toolkit.device.image_header import starts_as_image
from toolkit.errors import ConfigurationError, Problem
from toolkit.experiment.schema import Experiment

_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\x28\xb5\x2f\xfd")


def shipped_experiment(name: str) -> Path:
    """The experiment file of that name that comes with the toolkit.

    In a wheel the experiments lie inside the package; in a checkout, in models/ beside it.
    """
    installed, checkout = Path(__file__).parents[1] / "models", Path(__file__).parents[2] / "models"
    return (installed if installed.is_dir() else checkout) / f"{name}.toml"


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file; of a folder or CSV list of images, make one that trains on them by the default recipe.

    Raises:
        ConfigurationError: with every problem in the file, each with its path in it.
    """
    if path.is_dir() or (path.suffix.lower() == ".csv" and path.is_file()):
        return _for_images(path.resolve())
    if problem := binary_file(path):
        raise ConfigurationError.from_problems([problem])
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            "no such experiment file or folder of images",
            where=str(path),
            remedy="see models/ for experiments that come with the toolkit",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"not valid TOML: {error}", where=str(path)) from None
    try:
        return Experiment.model_validate(content | {"origin": path.resolve()})
    except ValidationError as error:
        raise ConfigurationError.from_problems([_explain(path, detail) for detail in error.errors()]) from None


def _for_images(path: Path) -> Experiment:
    folder = path.is_dir()
    name = re.sub(r"[^a-z0-9]+", "-", (path.name if folder else path.stem).lower()).strip("-") or "images"
    data = {"source": "folders" if folder else "csv", "path": path}
    return Experiment.model_validate({"name": name, "data": data, "origin": path})


def binary_file(path: Path) -> Problem | None:
    """The problem of naming an archive or an image where an experiment or a folder of images belongs; else None."""
    if not path.is_file():
        return None  # a pipe would lose what is read here
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError:
        return None
    if start.startswith(_ARCHIVES) or start[257:262] == b"ustar":
        return Problem("is an archive, not a folder", str(path), "unpack it, and name the folder that it holds")
    if starts_as_image(start):
        remedy = "name the folder that holds one folder of images per class"
        return Problem("is an image, not a folder of images", str(path), remedy)
    return None


def _explain(path: Path, detail: ErrorDetails) -> Problem:
    """One pydantic error in the toolkit's form; `where` is file: table.key."""
    key = ".".join(str(part) for part in detail["loc"]) or "(whole file)"
    remedies = {
        "extra_forbidden": "remove it, or correct its spelling",
        "missing": "add it",
    }
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "too_short":
        message = "is empty; name at least one"
    return Problem(message, f"{path}: {key}", remedies.get(detail["type"], ""))
