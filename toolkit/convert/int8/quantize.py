"""INT8 quantization: ranges from training images, and as many layers in float as the accuracy limit requires.

    training images ─ranges▶ every layer quantized ─validation images▶ drop ≤ max_drop? ─no▶ restore the worst layer, again

NNCF does the arithmetic. Weights use half of their range (OverflowFix.ENABLE): processors without VNNI add two products in
16 bits, which saturate with the full range, so that the same file would give different answers on different processors.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.artifacts.bundle import Quantization
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.convert import parity
from toolkit.convert.int8.mixed_precision import quantized_layers, restore_float_layers
from toolkit.convert.parity import Images
from toolkit.errors import ConversionError, DataError, MachineError
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import openvino as ov

    from toolkit.data import Image

MAX_DROP = 0.01
"""The accuracy that may be lost, as a fraction of all images (0.01 is one point), unless the user says otherwise."""

CALIBRATION = 300
"""How many images the ranges of activations are taken from, at most."""

_RANKING = 100
"""How many images decide which layer is the worst, at most."""


@dataclass(frozen=True)
class CalibrationData:
    """What a model is quantized by; no test image is among it."""

    calibration: Images
    """u8 [n,H,W,3], n at most CALIBRATION: ranges are taken from these."""
    validation: Images
    """u8 [m,H,W,3]: layers are reverted until the accuracy on these holds."""
    labels: parity.Labels
    """[m], of the validation images."""
    judged_on: str
    """Which part they are: "validation", or "train" where there is no validation part."""

    def judge(
        self, before: float, after: float, max_drop: float, *, layers: int, left: int, reverted: tuple[str, ...] = ()
    ) -> Quantization:
        """Describe a quantization by the scores before and after it, with `left` of `layers` layers in INT8.

        Raises:
            ConversionError: no layer is in INT8, or the score drops by more than `max_drop`.
        """
        if not left or not parity.keeps_accuracy(after, before, max_drop):
            raise ConversionError(
                f"INT8 exceeds max_drop = {max_drop:g}: with {layers - left} of {layers} layers restored to float, "
                f"the accuracy still drops by {before - after:.4f}",
                remedy="allow more with --max-drop or convert.max_drop, or keep this model in a float precision",
            )
        return Quantization(
            calibration_images=len(self.calibration),
            judged_on=self.judged_on,
            images=len(self.labels),
            accuracy=after,
            reference_accuracy=before,
            layers=left,
            reverted=reverted,
        )


def load_calibration_data(model: TrainedModel, split: Split, workspace: Workspace) -> CalibrationData:
    """The training images that calibrate, taking turns among the classes, and the validation images that judge.

    Raises:
        DataError: the split has no training images.
    """
    from toolkit.data import label_array, load_images, read_manifest

    images = read_manifest(split, workspace)
    training = [image for image in images if image.subset == "train"]
    if not training:
        raise DataError(
            "no training images to calibrate with; test images are for evaluation only",
            where=split.path,
            remedy="add a train subset to the split, or convert to fp32 or fp16",
        )
    chosen = interleave_classes([image.label for image in training], CALIBRATION)
    validation, judged_on = _validation_images(images, training, chosen)

    def load(some: Sequence[Image]) -> Images:
        return load_images(some, model.input_size, model.crop, workspace=workspace)

    labels = label_array(validation, len(split.labels))
    return CalibrationData(load([training[index] for index in chosen]), load(validation), labels, judged_on)


def quantize(
    model: ov.Model, samples: CalibrationData, max_drop: float, progress: Progress
) -> tuple[ov.Model, Quantization]:
    """`model`, a lowered float32 graph, in INT8, losing at most `max_drop` of the accuracy on the validation images.

    The same model, images and versions give the same graph on the same kind of processor.

    Raises:
        ConversionError: there is nothing to quantize, or the bound cannot be held with any layer in INT8.
        MachineError: NNCF is not installed.
    """
    nncf = _nncf()
    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        raise ConversionError("it is quantized already", remedy="convert it to fp32, which keeps it as it is")
    progress.log(f"  calibrating with {len(samples.calibration)} training images")

    def score(graph: ov.Model) -> float:
        return parity.score(parity.predict(graph, [samples.validation]), samples.labels)

    before, whole = score(model), _quantized(nncf, model, samples)
    names, quantized, after = quantized_layers(whole), whole, score(whole)
    reverted: tuple[str, ...] = ()
    if not names:
        raise ConversionError("it has no layers that INT8 can speed up", remedy="keep it in fp32 or fp16")
    if not parity.keeps_accuracy(after, before, max_drop):
        progress.log(f"  {samples.judged_on} images: {before - after:.2%} lost, more than the bound")
        quantized, reverted = restore_float_layers(
            whole,
            model,
            samples.validation[:_RANKING],
            lambda graph: parity.keeps_accuracy(score(graph), before, max_drop),
            progress,
        )
        after = score(quantized)
    left = quantized_layers(quantized)
    return quantized, samples.judge(before, after, max_drop, layers=len(names), left=len(left), reverted=reverted)


def versions() -> dict[str, str]:
    """What decides an INT8 graph's bytes besides what decides a float one's."""
    return {"nncf": version("nncf")}


def interleave_classes(labels: Sequence[int], count: int) -> list[int]:
    """The indices of at most `count` images: the first of each class, then the second of each, and so on; in order."""
    seen: dict[int, int] = {}
    order = []
    for index, label in enumerate(labels):
        seen[label] = seen.get(label, -1) + 1
        order.append((seen[label], label, index))
    return sorted(index for *_, index in sorted(order)[:count])


def _validation_images(
    images: Iterable[Image], training: Sequence[Image], chosen: Sequence[int]
) -> tuple[Sequence[Image], str]:
    """The validation images; without any, the training images that did not calibrate, or all of those."""
    validation = [image for image in images if image.subset == "validation"]
    if validation:
        return validation, "validation"
    taken = set(chosen)
    return [image for index, image in enumerate(training) if index not in taken] or training, "train"


def _nncf() -> Any:
    """NNCF without its output and telemetry.

    Raises:
        MachineError: it is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")
    try:
        import nncf
    except ImportError as error:
        raise MachineError(
            f"INT8 needs NNCF, which cannot be imported here: {error}",
            remedy="install the toolkit's extra `train`, or convert in the environment that `just setup` creates",
        ) from None
    nncf.set_log_level(logging.ERROR)
    return nncf


def _quantized(nncf: Any, model: ov.Model, samples: CalibrationData) -> ov.Model:
    """A new graph with every layer quantized that NNCF can quantize."""
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    calibration = nncf.Dataset(range(len(samples.calibration)), lambda index: samples.calibration[index][np.newaxis])
    with _quiet():
        return nncf.quantize(
            model,
            calibration,
            subset_size=len(samples.calibration),
            advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNCF draws its bars on stdout, which is for data."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
