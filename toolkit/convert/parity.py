"""Parity of a converted model with its original: both compute in float32 on the same images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit.artifacts.bundle import Parity
from toolkit.convert.runtimes import tflite_interpreter
from toolkit.device import rejection

if TYPE_CHECKING:
    import openvino as ov

Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.int8]
"""The true ones: indices [n]; of many labels [n, classes] of 1, 0 and -1 (not judged)."""

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "int8": 1.0}
"""The largest allowed difference of a probability from Keras' own, unless the user says otherwise.

INT8 is bounded by its accuracy (`max_drop`); the change of its probabilities is reported, and any change is allowed."""

QUANTIZED_TOLERANCE = 5e-2
"""The same for an imported model that came quantized: its own runtime rounds to 256 steps where OpenVINO's does not."""

MIN_ACCURACY_SHARE = 0.99
"""The least part of Keras' accuracy in float32 that a converted model keeps, however wide the tolerance is set."""

# Without the hint a CPU that has BF16 computes in it, and ACL in FP16: the comparison would be of those.
_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A Parity, and which image is furthest off."""

    parity: Parity
    worst: int
    """Its index among the images."""


def predict(model: ov.Model | Path, chunks: Iterable[Images]) -> Probabilities:
    """The probabilities, f32 [n, classes], that `model` gives on this machine's CPU, computed in float32.

    `chunks` are u8 [n,H,W,3]; the model takes one image at a time.
    """
    if isinstance(model, Path) and model.suffix == ".tflite":
        return tflite_interpreter.predict(model, chunks)
    return infer_all(compile_model(model), chunks)


def compile_model(model: ov.Model | Path) -> Any:
    """`model` made ready for this machine's CPU, to compute in float32."""
    import openvino as ov

    return ov.Core().compile_model(model, "CPU", _EXACT)


def infer_all(compiled: Any, chunks: Iterable[Images]) -> Probabilities:
    """The same of a model that is compiled already."""
    import openvino as ov

    queue = ov.AsyncInferQueue(compiled)
    rows: dict[int, Probabilities] = {}
    shape = compiled.input(0).get_shape()

    def keep(request: Any, index: int) -> None:
        rows[index] = request.get_output_tensor(0).data[0].copy()

    queue.set_callback(keep)
    count = 0
    for chunk in chunks:
        for image in chunk:
            queue.start_async([in_model_layout(image, shape)], count)
            count += 1
    queue.wait_all()
    return np.stack([rows[index] for index in range(count)]).astype(np.float32)


def in_model_layout(image: Images, shape: Any) -> Images:
    """u8 [H,W,3] as the model's input, [1,H,W,3] or planes, [1,3,H,W]."""
    planes = shape[-1] != 3
    return np.ascontiguousarray(image.transpose(2, 0, 1) if planes else image)[np.newaxis]


def compare(
    reference: Probabilities,
    outputs: Probabilities,
    labels: Labels,
    tolerance: float,
    max_drop: float | None = None,
) -> Comparison:
    """Set `outputs` beside `reference`, both f32 [n, classes]; `labels` are the true ones.

    A value that is not a number counts as infinitely far. It passes if no difference is beyond `tolerance` and the
    score satisfies `keeps_accuracy`.
    """
    difference = np.nan_to_num(np.abs(outputs - reference), nan=np.inf)
    multi_label = labels.ndim == 2
    ours, theirs = (outputs > 0.5, reference > 0.5) if multi_label else (top1(outputs), top1(reference))
    max_abs = float(difference.max())
    achieved, expected = score(outputs, labels), score(reference, labels)
    parity = Parity(
        images=len(labels),
        max_abs=max_abs,
        mean_abs=float(difference.mean()),
        top1_agreement=float(np.mean(ours == theirs)),
        accuracy=accuracy(outputs, labels),
        reference_accuracy=accuracy(reference, labels),
        tolerance=tolerance,
        passed=max_abs <= tolerance and keeps_accuracy(achieved, expected, max_drop),
        max_drop=max_drop,
        micro_f1=achieved if multi_label else None,
        reference_micro_f1=expected if multi_label else None,
    )
    return Comparison(parity, int(difference.max(axis=1).argmax()))


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """The share of images whose likelier class is the true one; of many labels, that have all of them and no other."""
    if labels.ndim == 1:
        return float(np.mean(top1(probabilities) == labels))
    return float(np.mean((((probabilities > 0.5) == (labels == 1)) | (labels < 0)).all(axis=1)))


def score(probabilities: Probabilities, labels: Labels) -> float:
    """What conversion has to keep: the accuracy, or of many labels the micro F1, which every decision moves."""
    if labels.ndim == 1:
        return accuracy(probabilities, labels)
    predicted, there = (probabilities > 0.5) & (labels >= 0), labels == 1
    return float(2 * (predicted & there).sum() / max(int(predicted.sum() + there.sum()), 1))


def score_pair(achieved: Parity) -> tuple[float, float]:
    """Ours and the reference's, as `keeps` takes them."""
    if achieved.micro_f1 is None or achieved.reference_micro_f1 is None:
        return achieved.accuracy, achieved.reference_accuracy
    return achieved.micro_f1, achieved.reference_micro_f1


def keeps_accuracy(ours: float, reference: float, max_drop: float | None = None) -> bool:
    """Is our score at least MIN_ACCURACY_SHARE of `reference`, or, with a bound, at most `max_drop` below it?"""
    if max_drop is None:
        return ours >= MIN_ACCURACY_SHARE * reference
    return reference - ours <= max_drop + 1e-9  # shares of whole images, as floats


def top1(probabilities: Probabilities) -> npt.NDArray[np.int64]:
    """The index of the likeliest class per row; a single column is the probability of the second of two classes."""
    return np.asarray(rejection.of_each_class(probabilities).argmax(axis=1), dtype=np.int64)
