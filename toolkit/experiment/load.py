"""Read experiment files: parse, validate, and report every error with its place in the file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from toolkit.errors import ConfigurationError, Problem
from toolkit.experiment.schema import Experiment


def shipped_experiment(name: str) -> Path:
    """The experiment file of that name that comes with the toolkit.

    In a wheel the experiments lie inside the package; in a checkout, in models/ beside it.
    """
    installed, checkout = Path(__file__).parents[1] / "models", Path(__file__).parents[2] / "models"
    return (installed if installed.is_dir() else checkout) / f"{name}.toml"


def load_experiment(path: Path) -> Experiment:
    """Read an experiment file; of a folder of images, make the experiment that trains on it by the default recipe.

    Raises:
        ConfigurationError: with every problem in the file, each with its path in it.
    """
    if path.is_dir():
        return _for_folder(path.resolve())
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


def _for_folder(folder: Path) -> Experiment:
    name = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-") or "images"
    data = {"source": "folders", "path": folder}
    return Experiment.model_validate({"name": name, "data": data, "origin": folder})


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
