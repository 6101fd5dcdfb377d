"""The folder of a run: paths, and saving and loading of finished stages.

runs/<experiment>-<run digest, 12>/<trial>/<stage>/
    model.keras       the model with its activation
    history.json      its epochs, for people
    evaluation.json   its metrics, for people
    trained.json      the TrainedModel and the digest of model.keras; written last, so it marks a complete stage
    checkpoint.npz    only while the stage is not finished
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from toolkit import __version__, files, hashing
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import MachineError
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Trial
from toolkit.networks import keras_files, tf_compat
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import keras

_TRAINED = TypeAdapter(TrainedModel)


def versions() -> dict[str, str]:
    """What made a model, besides its inputs."""
    return {"toolkit": __version__} | tf_compat.versions()


def run_digest(trial: Trial, split: Split, weights: str | Path) -> str:
    """What makes it the same run: the trial with all its settings, the data, initial weights of a file, and versions."""
    content = hashing.sha256_file(weights) if isinstance(weights, Path) and weights.is_file() else str(weights)
    settings = trial.model_dump(mode="json")
    return hashing.sha256_json({"trial": settings, "split": split.digest, "weights": content, "versions": versions()})


def stage_path(workspace: Workspace, experiment: Experiment, run: str, trial: Trial, stage: str) -> Path:
    """The path of the folder of one stage of a run."""
    return workspace.root / "runs" / f"{experiment.name}-{run[:12]}" / trial.name / stage


def stage_folder(workspace: Workspace, experiment: Experiment, run: str, trial: Trial, stage: str) -> Path:
    """The folder of one stage of a run, made if it is missing."""
    path = stage_path(workspace, experiment, run, trial, stage)
    path.mkdir(parents=True, exist_ok=True)
    return path


def model_digest(model: keras.Model) -> str:
    """SHA-256 over architecture and weights. The .keras file's own bytes hold times, so they differ at each saving."""
    total = hashlib.sha256(model.to_json().encode())
    for variable in model.weights:
        total.update(tf_compat.array(variable).tobytes())
    return total.hexdigest()


def model_file(folder: Path) -> Path:
    """The model in a stage's folder."""
    return folder / "model.keras"


def save_stage(trained: TrainedModel, model: keras.Model, folder: Path) -> None:
    """Write the model and all that is said of it; trained.json last, which makes the stage a finished one."""
    _save(model, model_file(folder))
    _write(folder / "history.json", [asdict(epoch) for epoch in trained.history])
    _write(folder / "evaluation.json", asdict(trained.evaluation))
    _write(folder / "trained.json", {"model": asdict(trained), "file_sha256": hashing.sha256_file(model_file(folder))})
    (folder / "checkpoint.npz").unlink(missing_ok=True)


def load_stage(folder: Path) -> TrainedModel | None:
    """The stage's model if it was finished and its file is still what was written, else None."""
    try:
        trained = json.loads((folder / "trained.json").read_bytes())
        whole = trained["file_sha256"] == hashing.sha256_file(model_file(folder))
        return _TRAINED.validate_python(trained["model"]) if whole else None
    except (OSError, ValueError, KeyError, ValidationError):
        return None


def load_keras(model: TrainedModel, workspace: Workspace) -> keras.Model:
    """The Keras model: float32 NHWC RGB in 0…255 to probabilities [n, outputs].

    Raises:
        MachineError: its file is gone or damaged.
    """
    return load_file(workspace.absolute(model.path))


def load_file(path: Path) -> keras.Model:
    """A .keras file, with no code of its own run.

    Raises:
        MachineError: the file is gone or damaged.
    """
    try:
        return keras_files.load_model(path)
    except (OSError, TypeError, ValueError) as error:
        raise MachineError(
            f"the model cannot be loaded: {error}", where=str(path), remedy="train it again: toolkit train"
        ) from error


def remove_partial_files(folder: Path, name: str = "*") -> None:
    """Remove what a killed process left half-written beside files of that name; only for who alone writes there."""
    for part in (*folder.glob(f".{name}.*.part"), *folder.glob(f".part-{name}")):
        part.unlink(missing_ok=True)


def _save(model: keras.Model, path: Path) -> None:
    """Write a .keras file whole."""
    part = path.with_name(f".part-{path.name}")
    try:
        model.save(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, value: object) -> None:
    with files.atomic_write(path) as stream:
        stream.write(json.dumps(value, indent=1, ensure_ascii=False).encode())
