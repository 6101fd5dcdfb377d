"""One measurement of `just bench accuracy`, in this process, on a folder of images that is there already.

    python benchmarks/accuracy_cell.py FOLDER SEED SIZE ours|logistic|keras|former…     prints a line of JSON for each method

FOLDER holds images/{train,validation,test}/LABEL/ and the workspace, whose cached arrays and features all methods share.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.artifacts.model import TrainedModel

BATCH, TOP_EPOCHS, WHOLE_EPOCHS = 32, 20, 10
ERROR = 0.05
"""The share of wrong answers that `[reject]` asks for."""


def ours(folder: Path, seed: int, size: int) -> dict[str, object]:
    """The default recipe: what is offered, the top stage before it, and the rejection rule on the test images."""
    started = time.perf_counter()
    models = _Place(folder, seed, size).train()
    offered = [model for model in models if not model.withheld][-1]
    rule = offered.rejection
    strangers = rule.strangers if rule else None
    return {
        "accuracy": offered.evaluation.accuracy,
        "images": offered.evaluation.images,
        "seconds": time.perf_counter() - started,
        "stage": offered.stage,
        "top": models[0].evaluation.accuracy,
        "stages": {model.stage: _figures(model) for model in models},
        "score": rule.score if rule else "",
        "answers": rule.test_answers if rule else 0,
        "errors": rule.test_errors if rule else 0,
        "strangers": strangers and (strangers.auroc, strangers.auroc_of_probability),
    }


def _figures(model: TrainedModel) -> dict[str, object]:
    return {
        "accuracy": model.evaluation.accuracy,
        "loss": model.evaluation.loss,
        "validation_losses": [round(epoch.val_loss, 4) for epoch in model.history],
        "seconds": round(model.seconds, 1),
        "withheld": model.withheld,
    }


def logistic(folder: Path, seed: int, size: int) -> dict[str, object]:
    """scikit-learn's logistic regression on the frozen features, its strength chosen by cross-validation."""
    import warnings

    from sklearn.linear_model import LogisticRegressionCV  # type: ignore[import-untyped]  # scikit-learn ships no types
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # scikit-learn ships no types
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # scikit-learn ships no types

    warnings.simplefilter("ignore")
    place = _Place(folder, seed, size)
    features = place.features()
    train, test = features["train"], features["test"]
    solver = LogisticRegressionCV(Cs=[1e-4, 1e-3, 1e-2, 0.1, 1.0], cv=3, max_iter=200, scoring="neg_log_loss")
    model = make_pipeline(StandardScaler(), solver)
    model.fit(train.inputs, train.labels)
    return {"accuracy": float((model.predict(test.inputs) == test.labels).mean()), "images": len(test.labels)}


def keras_recipe(folder: Path, seed: int, size: int) -> dict[str, object]:
    """Keras' guide: Adam at 1e-3 on the top layers with dropout, then at 1e-5 on the whole network in inference mode."""
    import keras
    import numpy as np

    from toolkit import networks

    place = _Place(folder, seed, size)
    features, subsets = place.features(), place.subsets
    model = place.model
    classes = len(place.split.labels)
    top = keras.Sequential([keras.layers.Dropout(0.2), keras.layers.Dense(classes)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    top.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    train, test = features["train"], features["test"]
    top.fit(train.inputs, train.labels, batch_size=BATCH, epochs=TOP_EPOCHS, verbose=0)
    before = float((top.predict(test.inputs, verbose=0).argmax(1) == test.labels).mean())
    frozen = networks.features_part(model)
    images = keras.Input(frozen.input_shape[1:])
    whole = keras.Model(images, top(frozen(images, training=False)))
    whole.compile(keras.optimizers.Adam(1e-5), loss, metrics=["accuracy"])
    pixels = subsets["train"].examples.inputs.astype(np.float32)
    whole.fit(pixels, train.labels, batch_size=BATCH, epochs=WHOLE_EPOCHS, verbose=0)
    logits = whole.predict(subsets["test"].examples.inputs.astype(np.float32), verbose=0)
    return {"accuracy": float((logits.argmax(1) == test.labels).mean()), "images": len(test.labels), "top": before}


def former(folder: Path, seed: int, size: int) -> dict[str, object]:
    """The defaults before there was a recipe: 5 epochs of Adam at 1e-3 in both stages, the last of which was offered."""
    stages = [{"name": "top", **_FORMER_STAGE}, {"name": "fine-tune", "head_rate": 1, **_FORMER_STAGE}]
    train = {"seed": seed, "hidden": [1024], "label_smoothing": 0, "class_weights": "none", "offer": "all"}
    models = _Place(folder, seed, size, train=train, stages=stages, augment="none").train()
    top, last = (model.evaluation for model in models)
    return {"accuracy": last.accuracy, "images": last.images, "top": top.accuracy}


_FORMER_STAGE = {
    "epochs": 5,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "patience": 5,
    "schedule": "constant",
    "weight_decay": 0,
    "clip_norm": 0,
    "average": 0,
}


class _Nowhere:
    """A store that holds nothing: the figures are all that is needed."""

    def put(self, artifact: object) -> None:
        """Forget it."""


class _Place:
    """The trial of a folder with default settings unless `tables` has others, and what all methods start from."""

    def __init__(self, folder: Path, seed: int, size: int, **tables: object) -> None:
        from toolkit import data
        from toolkit.experiment.schema import Experiment
        from toolkit.progress import Silent
        from toolkit.workspace import Workspace

        self.workspace, self.progress = Workspace(folder / "workspace"), Silent()
        self.plan = Experiment.model_validate(
            {
                "name": "bench-accuracy",
                "data": {"source": "folders", "path": str((folder / "images").resolve()), "leaks": "drop"},
                "train": {"seed": seed},
                "networks": {"efficientnet_lite0": {"input_size": size}},
                "reject": {"error": ERROR, "strangers": "leave-one-out"},
                **tables,
            }
        )
        self.trial = next(self.plan.trials())
        self.split = data.prepare_dataset(self.plan.data, self.plan.origin, self.workspace, self.progress)

    def train(self) -> tuple[TrainedModel, ...]:
        """The model after each stage."""
        from toolkit.train import train_trial

        return train_trial(self.plan, self.trial, self.split, self.workspace, _Nowhere(), self.progress)

    def features(self) -> dict[str, Any]:
        """The frozen features of every part; sets `model` and `subsets` too."""
        from toolkit.train.features import frozen_features
        from toolkit.train.trial_context import load_subsets, prepare_trial, starting_model

        context = prepare_trial(self.plan, self.trial, self.split, self.workspace, self.progress)
        self.model, self.subsets = starting_model(context, None), load_subsets(context)
        return frozen_features(context, self.model, self.subsets)


METHODS = {"ours": ours, "logistic": logistic, "keras": keras_recipe, "former": former}


def main() -> None:
    """Measure and print."""
    folder, seed, size, *methods = sys.argv[1:]
    for method in methods:
        print(json.dumps({"method": method, **METHODS[method](Path(folder), int(seed), int(size))}), flush=True)


if __name__ == "__main__":
    main()
