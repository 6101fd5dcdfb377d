"""The papers' recipe, a yardstick in a process of its own: ImageDataGenerator, model.fit and their thread settings.

    python benchmarks/papers.py top|pipeline FOLDER EPOCHS      prints what it measured as one line of JSON

FOLDER holds images/{train,validation,test}/LABEL/ and body.npz, the first weights that ours start from as well. It runs on
Keras 3 and on Keras 2.14, and imports nothing of the toolkit. Imports are not counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

SIZE, BATCH, HIDDEN = (224, 224), 64, 1024
HEADS = {"sigmoid": (1, "binary", "binary_crossentropy"), "softmax": (2, "categorical", "categorical_crossentropy")}


def started() -> Any:
    """TensorFlow with the papers' threads; OMP_* and KMP_* are in the environment already."""
    import PIL.Image
    import tensorflow as tf

    PIL.Image.preinit()
    tf.config.threading.set_intra_op_parallelism_threads(8)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.constant(0)
    assert tf.keras.Model  # imported when it is first asked for
    return tf


def pipeline(tf: Any, folder: Path, epochs: int) -> dict[str, float]:
    """Every training image once an epoch, in batches, with nothing done to it."""
    began, images = time.perf_counter(), 0
    flow = generator(tf).flow_from_directory(folder / "images" / "train", SIZE, batch_size=BATCH, seed=0)
    for _ in range(epochs):
        images += sum(len(next(flow)[0]) for _ in range(len(flow)))
    return {"seconds": time.perf_counter() - began, "images": images}


def top(tf: Any, folder: Path, epochs: int) -> dict[str, object]:
    """Both heads, one after the other, each judged on the test images."""
    began = time.perf_counter()
    accuracies = {head: trained(tf, folder, head, epochs) for head in HEADS}
    return {"seconds": time.perf_counter() - began, "accuracies": accuracies}


def trained(tf: Any, folder: Path, head: str, epochs: int) -> float:
    """The test accuracy of one head, its backbone frozen."""
    units, mode, loss = HEADS[head]
    tf.keras.utils.set_random_seed(0)
    flows = {part: flow(tf, folder, part, mode) for part in ("train", "validation", "test")}
    body = tf.keras.applications.MobileNet(include_top=False, weights=None, input_shape=(*SIZE, 3))
    fill(body, folder / "body.npz")
    body.trainable = False
    features = tf.keras.layers.GlobalAveragePooling2D()(body.output)
    hidden = tf.keras.layers.Dense(HIDDEN, activation="relu")(features)
    model = tf.keras.Model(body.input, tf.keras.layers.Dense(units, activation=head)(hidden))
    model.compile(tf.keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
    stopping = tf.keras.callbacks.EarlyStopping(patience=5)
    model.fit(flows["train"], epochs=epochs, validation_data=flows["validation"], callbacks=[stopping], verbose=0)
    return float(model.evaluate(flows["test"], verbose=0)[1])


def flow(tf: Any, folder: Path, part: str, mode: str) -> Any:
    """The images of a part, scaled as MobileNet takes them."""
    scaled = generator(tf, preprocessing_function=tf.keras.applications.mobilenet.preprocess_input)
    shuffled = part == "train"
    where = folder / "images" / part
    return scaled.flow_from_directory(where, SIZE, batch_size=BATCH, class_mode=mode, shuffle=shuffled, seed=0)


def generator(tf: Any, **options: Any) -> Any:
    """Keras' own; the newer ones keep it for old programs."""
    return tf.keras.preprocessing.image.ImageDataGenerator(**options)


def fill(body: Any, path: Path) -> None:
    """Weights by layer: body.npz names each array LAYER/NUMBER."""
    import numpy as np

    with np.load(path) as arrays:
        for layer in body.layers:
            layer.set_weights([arrays[f"{layer.name}/{number}"] for number in range(len(layer.weights))])


def main() -> None:
    """Measure and print."""
    what, folder, epochs = sys.argv[1:]
    measured = {"top": top, "pipeline": pipeline}[what](started(), Path(folder), int(epochs))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
