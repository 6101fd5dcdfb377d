"""How far one form of a model is from another: both computed in float32, on the same pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit.artifacts import Parity

if TYPE_CHECKING:
    import openvino as ov

Pictures = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2}
"""The largest allowed difference of a probability from Keras' own, unless the user says otherwise."""

ACCURACY_KEPT = 0.99
"""The least part of Keras' accuracy in float32 that a converted model keeps, however wide the tolerance is set."""

# Without the hint a CPU that has BF16 computes in it, and ACL in FP16: the comparison would be of those.
_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A Parity, and which picture is furthest off."""

    parity: Parity
    worst: int
    """Its index among the pictures."""


def run(model: ov.Model | Path, chunks: Iterable[Pictures]) -> Probabilities:
    """The probabilities, f32 [n, classes], that `model` gives on this machine's CPU, computed in float32.

    `chunks` are u8 [n,H,W,3]; the model takes one picture at a time.
    """
    import openvino as ov

    compiled = ov.Core().compile_model(model, "CPU", _EXACT)
    queue = ov.AsyncInferQueue(compiled)
    rows: dict[int, Probabilities] = {}
    shape = compiled.input(0).get_shape()

    def keep(request: Any, index: int) -> None:
        rows[index] = request.get_output_tensor(0).data[0].copy()

    queue.set_callback(keep)
    count = 0
    for chunk in chunks:
        for picture in chunk:
            queue.start_async([_as_taken(picture, shape)], count)
            count += 1
    queue.wait_all()
    return np.stack([rows[index] for index in range(count)]).astype(np.float32)


def _as_taken(picture: Pictures, shape: Any) -> Pictures:
    """u8 [H,W,3] as the model's input, [1,H,W,3] or planes, [1,3,H,W]."""
    planes = shape[-1] != 3
    return np.ascontiguousarray(picture.transpose(2, 0, 1) if planes else picture)[np.newaxis]


def compare(
    reference: Probabilities, outputs: Probabilities, labels: npt.NDArray[np.int64], tolerance: float
) -> Comparison:
    """Set `outputs` beside `reference`, both f32 [n, classes]; `labels` [n] are the true ones.

    A value that is not a number counts as infinitely far. It passes if no difference is beyond `tolerance` and the
    accuracy is at least ACCURACY_KEPT of the reference's.
    """
    difference = np.nan_to_num(np.abs(outputs - reference), nan=np.inf)
    ours, theirs = top1(outputs), top1(reference)
    max_abs = float(difference.max())
    accuracy, reference_accuracy = float(np.mean(ours == labels)), float(np.mean(theirs == labels))
    parity = Parity(
        pictures=len(labels),
        max_abs=max_abs,
        mean_abs=float(difference.mean()),
        top1_agreement=float(np.mean(ours == theirs)),
        accuracy=accuracy,
        reference_accuracy=reference_accuracy,
        tolerance=tolerance,
        passed=max_abs <= tolerance and keeps_accuracy(accuracy, reference_accuracy),
    )
    return Comparison(parity, int(difference.max(axis=1).argmax()))


def keeps_accuracy(accuracy: float, reference: float) -> bool:
    """Is `accuracy` at least ACCURACY_KEPT of `reference`?"""
    return accuracy >= ACCURACY_KEPT * reference


def top1(probabilities: Probabilities) -> npt.NDArray[np.int64]:
    """The index of the likelier class per row; of a single sigmoid, 1 above a half."""
    if probabilities.shape[1] == 1:
        return np.asarray(probabilities[:, 0] > 0.5, dtype=np.int64)
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
