"""Bundles of converted models: golden images with the reference answers, computed in float32.

The answers are those of the float32 graph. For an INT8 model, they are its own: the difference between INT8 and FP32 does
not depend on the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.bundle.create import write_bundle
from toolkit.convert import parity
from toolkit.convert.reference import ReferenceModel, test_images
from toolkit.convert.training_embedding import training_embedding
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

_GOLDEN = 8


def create_bundle(
    ir: IrModel, model: TrainedModel, split: Split, workspace: Workspace, store: Store, progress: Progress
) -> Bundle:
    """Create the bundle of `ir`, or reuse an existing one; a damaged one is replaced."""
    test = test_images(model, split, workspace)
    inputs = np.ascontiguousarray(test.pixels[golden_images([image.label for image in test.images], _GOLDEN)])
    judge = workspace.absolute(ir.path) if ir.precision == "int8" else ReferenceModel(model, workspace, progress).graph
    golden, training = (inputs, parity.predict(judge, [inputs])), training_embedding(model, split, workspace)
    return write_bundle(ir, model, split, golden, workspace, store, progress, training)


def golden_images(labels: Sequence[int], count: int) -> list[int]:
    """The indices of `count` images (fewer if there are fewer): the first of each class, then the second, and so on."""
    seen: Counter[int] = Counter()
    order = []
    for index, label in enumerate(labels):
        order.append((seen[label], label, index))
        seen[label] += 1
    return [index for *_, index in sorted(order)[:count]]
