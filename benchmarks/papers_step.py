"""The papers' way to fine-tune, step by step: a compiled Keras model and train_on_batch. `train_speed.py` runs it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toolkit import networks
from toolkit.train.tuning.worker import Workload, assemble, main


def prepare(piece: Workload) -> Callable[[int], None]:
    """A function that takes one step with a batch of so many images."""
    networks.start_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    model = assemble(piece)
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss="categorical_crossentropy", metrics=["accuracy"])
    draw = np.random.default_rng(0)

    def take(count: int) -> None:
        images = draw.integers(0, 256, (1, piece.edge, piece.edge, 3), dtype=np.uint8).astype(np.float32)
        model.train_on_batch(np.repeat(images, count, axis=0), np.eye(2, dtype=np.float32)[np.arange(count) % 2])

    return take


if __name__ == "__main__":
    main(prepare)
