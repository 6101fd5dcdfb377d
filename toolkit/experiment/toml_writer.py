"""An experiment with every setting of its training as a commented TOML file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import AugmentConfig, StageConfig, Trial

_COMMENTS = {
    "split": "shares of the images, if the folder is not divided into train, validation and test",
    "networks": "trained with each of the heads",
    "heads": "or sigmoid, one unit for two classes; multi-sigmoid where an image may have several labels",
    "batch_size": "images in a step",
    "seed": "decides the order of the images, dropout and augmentation",
    "flip": "every other image is mirrored",
    "rotate": "degrees either way",
    "zoom": "the size becomes 1 - zoom to 1 + zoom times its own",
    "brightness": "up to this share of white is added or taken away",
    "contrast": "the distance from the mean becomes 1 - contrast to 1 + contrast times its own",
    "patience": "epochs without a lower validation loss before it stops; the best weights are saved",
    "schedule": "how the rate falls, after `warmup` epochs in which it rises",
    "weight_decay": "decoupled; biases and batch norms are exempt",
    "clip_norm": "gradients are scaled down to this global norm; 0: they are not",
    "augmented_copies": "varied versions of each image, whose features are computed once",
    "head_rate": "the head learns this many times as fast as the body",
    "precisions": "int8 quantizes, with layers left in float for accuracy",
    "targets": "ncs2 adds the Neural Compute Stick 2",
    "hidden": "units of dense layers between the features and the output",
    "label_smoothing": "how far targets are drawn towards all classes alike",
    "class_weights": 'or "balanced", or a table of weights by class',
    "offer": 'a stage that ends below the one before it is not converted or deployed; "all": it is',
    "stages": "in which stages; without it, the top stage trains on cached features",
    "crop": "up to this share of each side is cut off",
    "optimizer": "lbfgs solves the head to its optimum; adam, adamw, adamax and sgd train it",
    "epochs": "chosen by the number of training images",
    "learning_rate": "of the body; the head's is head_rate times as high",
    "average": "decay of the moving average of the weights that is saved",
    "batch_norm": "keep the statistics of the initial weights",
}


def experiment_toml(experiment: Experiment, trial: Trial, path: Path) -> str:
    """The text of an experiment file that trains `trial`.

    Args:
        experiment: What it was made for.
        trial: The trial, completed by the recipe.
        path: The data, as the file is to name it.
    """
    lines = [
        f"# What `toolkit run {path.name}` does. Every setting may be changed or left out.",
        f'name = "{experiment.name}"',
        *(['augment = "none"'] if trial.augment == "none" else []),
        "",
        *_table("data", {"source": experiment.data.source, "path": str(path), "split": experiment.data.split}),
        *_table("matrix", {"networks": experiment.matrix.networks, "heads": experiment.heads}),
        *_table(
            "train",
            {
                "hidden": trial.hidden,
                "batch_size": trial.batch_size,
                "seed": trial.seed,
                "label_smoothing": trial.label_smoothing,
                "class_weights": trial.class_weights,
                "offer": trial.offer,
            },
        ),
        *(_table("augment", _set(trial.augment)) if isinstance(trial.augment, AugmentConfig) else []),
        *(line for stage in trial.stages for line in _stage(stage)),
        f"# [networks.{trial.network}]",
        '# weights = "imagenet"  # or "none", or a file',
        "# input_size = 160  # pixels of each side; smaller is faster",
        "",
        '# Answer "unknown" where more than this share of the answers would be wrong:',
        "# [reject]",
        "# error = 0.02",
        "",
        *_table("convert", {"precisions": experiment.convert.precisions, "targets": experiment.convert.targets}),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _stage(stage: StageConfig) -> Iterator[str]:
    """Return the settings that the stage's optimizer uses."""
    settings = {"name": stage.name, **_set(stage)}
    if stage.optimizer == "lbfgs":
        settings = {key: settings[key] for key in ("name", "optimizer", "augmented_copies")}
    yield "[[stages]]"
    yield from _lines(settings)


def _set(table: BaseModel) -> dict[str, object]:
    values = {key: getattr(table, key) for key in type(table).model_fields}
    return {key: value for key, value in values.items() if value is not None and value is not False}


def _table(name: str, settings: Mapping[str, object]) -> Iterator[str]:
    yield f"[{name}]"
    yield from _lines(settings)


def _lines(settings: Mapping[str, object]) -> Iterator[str]:
    for key, value in settings.items():
        comment = _COMMENTS.get(key)
        yield f"{key} = {_value(value)}" + (f"  # {comment}" if comment else "")
    yield ""


def _value(value: object) -> str:
    """A value in TOML; JSON writes strings, numbers and booleans alike."""
    if isinstance(value, BaseModel):
        return _value(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _quoted(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(value: object) -> str:
    """As JSON writes it; TOML has the same escapes, and wants one for DEL too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
