"""One measurement of ours for `just bench train`, in this process; and what both sides are given.

    python benchmarks/training.py top|pipeline|weights FOLDER WORKSPACE     prints what it measured as one line of JSON

Imports are not counted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SIZE = 224
SEEDS = 6
"""Sets of synthetic masks, 766 images each: together about as many as E1's 4,473."""
HEAD_SEEDS = 3
"""Each head is trained so often for its accuracy, the first one on the clock: the median is not at one seed's mercy."""
EXPERIMENT = """
name = "bench-train"
augment = "none"
[data]
source = "folders"
path = "images"
[matrix]
networks = ["mobilenet"]
heads = ["sigmoid", "softmax"]
[networks.mobilenet]
weights = "body.weights.h5"
[train]
hidden = [1024]
batch_size = 64
label_smoothing = 0
class_weights = "none"
[[stages]]
name = "top"
epochs = {epochs}
learning_rate = 0.001
patience = 5
optimizer = "adam"
schedule = "constant"
weight_decay = 0
clip_norm = 0
average = 0
"""


def prepared(folder: Path, epochs: int, *, quick: bool) -> None:
    """Lay out the images as both sides take them, and the random weights that both start from.

    A person is in the same part whatever the seed that the masks were painted with.
    """
    from toolkit import data
    from toolkit.data.synthetic_masks.dataset import make_masks
    from toolkit.experiment.schema import DataConfig
    from toolkit.progress import Silent
    from toolkit.workspace import Workspace

    place = Workspace(folder / "masks")
    split = data.prepare_dataset(DataConfig(source="synthetic-masks"), folder, place, Silent())
    parts = {image.path.name: image.subset for image in data.read_manifest(split, place)}
    for seed in range(1 if quick else SEEDS):
        for path in sorted(make_masks(place, seed, Silent()).glob("*/*.jpg"))[:: 8 if quick else 1]:
            target = folder / "images" / parts[path.name] / path.parent.name / f"{path.stem}-{seed}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path)
    (folder / "bench-train.toml").write_text(EXPERIMENT.format(epochs=epochs), encoding="utf-8")
    subprocess.run([sys.executable, __file__, "weights", folder, folder], check=True, stdout=subprocess.DEVNULL)


def top(folder: Path, workspace: Path) -> dict[str, object]:
    """Ours, in this process, as `toolkit train` does it."""
    from toolkit import data
    from toolkit.experiment.load import load_experiment
    from toolkit.progress import Silent
    from toolkit.store import Store
    from toolkit.train import train_trial
    from toolkit.workspace import Workspace

    _import_all()
    began = time.perf_counter()
    plan, place = load_experiment(folder / "bench-train.toml"), Workspace(workspace)
    split = data.prepare_dataset(plan.data, plan.origin, place, Silent())
    with Store(place.database) as store:
        models = [model for trial in plan.trials() for model in train_trial(plan, trial, split, place, store, Silent())]
    seconds = time.perf_counter() - began
    with Store(place.database) as store:
        for seed in range(1, HEAD_SEEDS):
            again = plan.model_copy(update={"train": plan.train.model_copy(update={"seed": seed})})
            models += [m for trial in again.trials() for m in train_trial(again, trial, split, place, store, Silent())]
    heads = {model.head: [m.evaluation.accuracy for m in models if m.head == model.head] for model in models}
    return {"seconds": seconds, "accuracies": {head: statistics.median(result) for head, result in heads.items()}}


def pipeline(folder: Path, workspace: Path) -> dict[str, object]:
    """Ours, in this process: the array decoded once, and the batches of every epoch."""
    import numpy as np

    from toolkit import data
    from toolkit.experiment.load import load_experiment
    from toolkit.progress import Silent
    from toolkit.train.fitting.loop import Examples, shuffled
    from toolkit.workspace import Workspace

    _import_all()
    plan, place = load_experiment(folder / "bench-train.toml"), Workspace(workspace)
    split = data.prepare_dataset(plan.data, plan.origin, place, Silent())
    images = [image for image in data.read_manifest(split, place) if image.subset == "train"]
    began, seen = time.perf_counter(), 0
    pixels = data.load_images(images, (SIZE, SIZE), "resize", workspace=place)
    examples = Examples(pixels, np.zeros(len(images), np.int64))
    for epoch in range(plan.stages[0].epochs or 0):
        order = shuffled(len(images), plan.train.batch_size, seed=0, stage="top", epoch=epoch)
        seen += sum(len(inputs) for _, inputs in examples.batches(order, epoch))
    return {"seconds": time.perf_counter() - began, "images": seen}


def weights(folder: Path, workspace: Path) -> dict[str, object]:
    """MobileNet's first weights, for ours and for theirs: random ones, then taught a little, so that accuracies mean something."""
    del workspace
    import numpy as np

    from toolkit.networks import start_tensorflow

    start_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    body = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    accuracy = _taught(body, folder / "images" / "train")
    body.save_weights(folder / "body.weights.h5")
    arrays = {f"{layer.name}/{i}": array for layer in body.layers for i, array in enumerate(layer.get_weights())}
    np.savez(folder / "body.npz", **arrays)
    return {"accuracy": accuracy}


def _taught(body: Any, images: Path, count: int = 512, epochs: int = 3) -> float:
    """Fine-tune on `count` of the training images; returns the accuracy of the last epoch on them."""
    import cv2
    import keras
    import numpy as np

    paths = sorted(images.rglob("*.jpg"))
    chosen = paths[:: max(1, len(paths) // count)]
    pixels = np.stack([cv2.resize(cv2.imread(str(path)), (SIZE, SIZE)) for path in chosen]).astype(np.float32)
    labels = np.array([path.parent.name == "with_mask" for path in chosen], np.float32)
    for layer in body.layers:
        if hasattr(layer, "moving_mean"):
            layer.momentum = 0.8  # there are few steps to know the images from
    predict = keras.layers.Dense(1, "sigmoid")(keras.layers.GlobalAveragePooling2D()(body.output))
    model = keras.Model(body.input, predict)
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy", metrics=["accuracy"])
    fitted = model.fit(pixels[:, :, :, ::-1] / 127.5 - 1, labels, batch_size=16, epochs=epochs, verbose=0)
    return float(fitted.history["accuracy"][-1])


def _import_all() -> None:
    import cv2
    import openvino

    from toolkit.networks import start_tensorflow

    start_tensorflow()
    openvino.Core()
    cv2.setRNGSeed(0)


def main() -> None:
    """Measure and print."""
    what, folder, workspace = sys.argv[1:]
    measured = {"top": top, "pipeline": pipeline, "weights": weights}[what](Path(folder), Path(workspace))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
