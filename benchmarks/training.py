"""One measurement of ours for `just bench train`, in this process; and what both sides are given.

    python benchmarks/training.py top|pipeline|weights FOLDER WORKSPACE     prints what it measured as one line of JSON

Imports are not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

SIZE = 224
SEEDS = 6
"""Sets of synthetic masks, 766 pictures each: together about as many as E1's 4,473."""
EXPERIMENT = """
name = "bench-train"
[data]
source = "folders"
path = "pictures"
[matrix]
networks = ["mobilenet"]
heads = ["sigmoid", "softmax"]
[networks.mobilenet]
weights = "body.weights.h5"
[train]
hidden = [1024]
batch_size = 64
[[stages]]
name = "top"
epochs = {epochs}
learning_rate = 0.001
patience = 5
"""


def prepared(folder: Path, epochs: int, *, quick: bool) -> None:
    """Lay out the pictures as both sides take them, and the random weights that both start from.

    A person is in the same part whatever the seed that the masks were painted with.
    """
    from toolkit import data
    from toolkit.artifacts import Workspace
    from toolkit.data.masks import make_masks
    from toolkit.experiment import DataTable
    from toolkit.progress import Silent

    place = Workspace(folder / "masks")
    split = data.prepare(DataTable(source="synthetic-masks"), folder, place, Silent())
    parts = {picture.path.name: picture.part for picture in data.read_manifest(split, place)}
    for seed in range(1 if quick else SEEDS):
        for path in sorted(make_masks(place, seed, Silent()).glob("*/*.jpg"))[:: 8 if quick else 1]:
            target = folder / "pictures" / parts[path.name] / path.parent.name / f"{path.stem}-{seed}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path)
    (folder / "bench-train.toml").write_text(EXPERIMENT.format(epochs=epochs), encoding="utf-8")
    subprocess.run([sys.executable, __file__, "weights", folder, folder], check=True, stdout=subprocess.DEVNULL)


def top(folder: Path, workspace: Path) -> dict[str, object]:
    """Ours, in this process, as `toolkit train` does it."""
    from toolkit import data, experiment
    from toolkit.artifacts import Workspace
    from toolkit.progress import Silent
    from toolkit.store import Store
    from toolkit.train import train_trial

    _import_all()
    began = time.perf_counter()
    plan, place = experiment.load(folder / "bench-train.toml"), Workspace(workspace)
    split = data.prepare(plan.data, plan.origin, place, Silent())
    with Store(place.database) as store:
        models = [model for trial in plan.trials() for model in train_trial(plan, trial, split, place, store, Silent())]
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "accuracies": {model.head: model.evaluation.accuracy for model in models}}


def pipeline(folder: Path, workspace: Path) -> dict[str, object]:
    """Ours, in this process: the array decoded once, and the batches of every epoch."""
    import numpy as np

    from toolkit import data, experiment
    from toolkit.artifacts import Workspace
    from toolkit.progress import Silent
    from toolkit.train.fit import Examples, shuffled

    _import_all()
    plan, place = experiment.load(folder / "bench-train.toml"), Workspace(workspace)
    split = data.prepare(plan.data, plan.origin, place, Silent())
    pictures = [picture for picture in data.read_manifest(split, place) if picture.part == "train"]
    began, seen = time.perf_counter(), 0
    pixels = data.load_pictures(pictures, (SIZE, SIZE), "resize", workspace=place)
    examples = Examples(pixels, np.zeros(len(pictures), np.int64))
    for epoch in range(plan.stages[0].epochs):
        order = shuffled(len(pictures), plan.train.batch_size, seed=0, stage="top", epoch=epoch)
        seen += sum(len(inputs) for _, inputs in examples.batches(order, epoch))
    return {"seconds": time.perf_counter() - began, "pictures": seen}


def weights(folder: Path, workspace: Path) -> dict[str, object]:
    """MobileNet's random weights, for ours and for theirs."""
    del workspace
    import numpy as np

    from toolkit.networks import start_tensorflow

    start_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    body = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    body.save_weights(folder / "body.weights.h5")
    arrays = {f"{layer.name}/{i}": array for layer in body.layers for i, array in enumerate(layer.get_weights())}
    np.savez(folder / "body.npz", **arrays)
    return {}


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
