"""The limit of a float32 training step: nothing but matrix products, of as many operations. `train_speed.py` runs it.

A step takes 2 operations per multiply-add of the forward pass, and twice as many again for the gradients of activations and
weights: 6 per multiply-add and image (Kaplan et al., Scaling Laws for Neural Language Models, arXiv 2001.08361, section 2.1).
No kernel does them faster than the product of two large matrices, so

    images/s <= operations/s of a large matrix product / (6 x multiply-adds of one image)
"""

from __future__ import annotations

from collections.abc import Callable

from toolkit import networks
from toolkit.networks.inspection import inspect_model
from toolkit.train.tuning.worker import Workload, assemble, main

EDGE = 3072
"""Rows and columns of the matrices."""


def prepare(workload: Workload) -> Callable[[int], None]:
    """Return a function that multiplies matrices with the operations of one training step on so many images."""
    tf = networks.start_tensorflow()
    model = assemble(workload)
    operations = 6 * inspect_model(model).multiply_adds
    matrix = tf.random.stateless_uniform((EDGE, EDGE), (0, 0))

    def step(count: int) -> None:
        blocks, rest = divmod(round(count * operations / (2 * EDGE**2)), EDGE)
        for rows in (*[EDGE] * blocks, *([rest] if rest else [])):
            float(tf.matmul(matrix[:rows], matrix)[0, 0])

    return step


if __name__ == "__main__":
    main(prepare)
