"""Convert a trained or imported model to an OpenVINO IR, and verify that it gives the same answers.

    ReferenceModel ─graph▶ lowered for target and precision ─write▶ IR ─run on the test images▶ Parity ─passed?▶ stored

The IR is written under a temporary name and renamed only after parity has passed, so a failed one is never used.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit import compat, files
from toolkit.artifacts.bundle import IrModel, Parity, Quantization
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.compat import Target
from toolkit.convert import graphs, parity, tflite_writer
from toolkit.convert.int8 import quantize
from toolkit.convert.ir_writer import write_ir
from toolkit.convert.lowering import activation_range
from toolkit.convert.parity import Comparison, Images
from toolkit.convert.reference import ReferenceModel, TestImages, reference_runtime, test_images, versions
from toolkit.errors import ConfigurationError, ConversionError, DataError, ParityError
from toolkit.progress import Progress, format_bytes
from toolkit.store import Store
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import openvino as ov


def convert_model(
    model: TrainedModel,
    precision: str,
    target: str,
    workspace: Workspace,
    store: Store,
    progress: Progress,
    tolerance: float | None = None,
    max_drop: float | None = None,
    force: str = "",
) -> IrModel:
    """Create the IR of `model` in `precision` for `target`, or its .tflite for LiteRT, or reuse an existing one.

    `tolerance` is the largest allowed difference of any probability from Keras' (default: parity.TOLERANCE); for INT8
    `max_drop` is the accuracy that may be lost, as a fraction of all images (default: int8.MAX_DROP). With `force`, a reason
    that the bundle then holds, layers may leave FP16's range.

    Raises:
        ConversionError: the target's runtime lacks an operation, or a number or activation does not fit FP16.
        ParityError: it answers differently on the test images; nothing is stored.
        ConfigurationError: no such target, or the target does not take that precision.
        DataError: the model or its split cannot be used.
    """
    aim = compat.find_target(target)
    compat.check_precision(aim, precision)
    _check_quantized(model, aim)
    limits = _limits(model, precision, tolerance, max_drop)
    title = f"{model.name} {precision} for {target}"
    done = _already(model, precision, target, limits, workspace, store)
    if done is not None and done.forced and not force:
        done = None
    if done is not None:
        progress.log(f"convert {title}: already done ({done.digest[:12]})")
        return done
    progress.log(f"convert {title}")
    start = time.monotonic()
    source = ReferenceModel(model, workspace, progress)
    split = split_of(model, store)
    test = test_images(model, split, workspace)
    quantizer = Quantizer(model, split, limits.max_drop, workspace, progress) if limits.max_drop is not None else None
    with files.part_folder(workspace.folder("ir")) as partial:
        fp16 = aim.fp16_arithmetic or precision == "fp16"
        ranges = ActivationCheck(model, split, test, workspace, progress, force) if fp16 else None
        if aim.runtime == "litert":
            path = _write_litert(source, partial / "new", quantizer, progress)
        else:
            path = write_ir(source, aim, precision, partial / "new", progress, quantizer, ranges)
        compared = _compared(source, split, test, path, limits)
        if not compared.parity.passed:
            raise _disagreement(title, reference_runtime(model), compared, test)
        place = _publish(path, workspace)
    ir = IrModel(
        digest=graphs.digest_of(place),
        parent=model.digest,
        precision=precision,
        target=target,
        path=workspace.relative(place),
        size_bytes=graphs.size_of(place),
        parity=compared.parity,
        seconds=time.monotonic() - start,
        versions=_versions(precision, aim),
        quantization=None if quantizer is None else quantizer.details,
        forced=force if ranges is not None and ranges.overflows else "",
    )
    store.put(ir)
    _log_parity(ir, reference_runtime(model), progress)
    return ir


_MEASURED = 64
"""Images of a subset on which the ranges of activations are measured, at most."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What an IR must keep to: `max_drop` is set for INT8 alone."""

    tolerance: float
    max_drop: float | None


@dataclass
class Quantizer:
    """Quantizes a lowered graph to INT8; `details` describes the result afterwards."""

    model: TrainedModel
    split: Split
    max_drop: float
    workspace: Workspace
    progress: Progress
    details: Quantization | None = None

    def __call__(self, graph: ov.Model) -> ov.Model:
        """The graph in INT8."""
        quantized, self.details = quantize.quantize(graph, self.samples(), self.max_drop, self.progress)
        return quantized

    def samples(self) -> quantize.CalibrationData:
        """The images that calibrate and judge."""
        return quantize.load_calibration_data(self.model, self.split, self.workspace)


@dataclass
class ActivationCheck:
    """Refuses a graph whose layers leave FP16's range on training and test images; `overflows` is set if any does."""

    model: TrainedModel
    split: Split
    test: TestImages
    workspace: Workspace
    progress: Progress
    force: str = ""
    overflows: bool = False

    def __call__(self, graph: ov.Model) -> None:
        """Check a float32 graph.

        Raises:
            ConversionError: naming each layer that leaves the range, unless a reason to go on was given.
        """
        images = np.concatenate([*self._training_images(), self.test.pixels[_spread(len(self.test.pixels), _MEASURED)]])
        try:
            activation_range.refuse_overflow(activation_range.measure(graph, images))
        except ConversionError as error:
            self.overflows = True
            if not self.force:
                raise
            self.progress.log(
                f"  continues because of --force although {error.problems[0].where}: {error.problems[0].what}"
            )

    def _training_images(self) -> list[Images]:
        from toolkit.data import load_images, read_manifest

        training = [image for image in read_manifest(self.split, self.workspace) if image.subset == "train"]
        chosen = [training[index] for index in _spread(len(training), _MEASURED)]
        return [load_images(chosen, self.model.input_size, self.model.crop)] if chosen else []


def _spread(count: int, most: int) -> list[int]:
    """At most `most` indices below `count`, evenly spread."""
    return sorted({index * count // min(most, count) for index in range(min(most, count))}) if count else []


def _check_quantized(model: TrainedModel, target: Target) -> None:
    """A file that came quantized is INT8, whatever its weights are stored as."""
    if model.imported and model.imported.quantized and "int8" not in target.precisions:
        raise ConfigurationError(
            f"{model.imported.file} is quantized, and target {target.name} does not support INT8: "
            f"{target.refused.get('FakeQuantize', 'it has no arithmetic for it')}",
            remedy="import the model as it was before quantization",
        )


def _limits(model: TrainedModel, precision: str, tolerance: float | None, max_drop: float | None) -> Tolerances:
    usual = parity.TOLERANCE[precision]
    if model.imported and model.imported.quantized:
        usual = max(usual, parity.QUANTIZED_TOLERANCE)
    limit = usual if tolerance is None else tolerance
    if precision != "int8":
        return Tolerances(limit, None)
    return Tolerances(limit, quantize.MAX_DROP if max_drop is None else max_drop)


def _versions(precision: str, target: Target) -> dict[str, str]:
    if target.runtime == "litert":
        return dict(versions()) | tflite_writer.versions()
    return dict(versions()) | (quantize.versions() if precision == "int8" else {})


def _write_litert(source: ReferenceModel, folder: Path, quantizer: Quantizer | None, progress: Progress) -> Path:
    if quantizer is None:
        return tflite_writer.write_float(source, folder)
    path, quantizer.details = tflite_writer.write_int8(
        source, quantizer.samples(), quantizer.max_drop, folder, progress
    )
    return path


def split_of(model: TrainedModel, store: Store) -> Split:
    """The split that `model` was trained on.

    Raises:
        DataError: the store does not know it.
    """
    split = store.get(Split, model.parent)
    if split is None:
        raise DataError(
            f"the database has no split {model.parent[:12]}, which {model.name} was trained on",
            remedy="prepare the data again with `toolkit run` on the model's experiment",
        )
    return split


def _already(
    model: TrainedModel, precision: str, target: str, limits: Tolerances, workspace: Workspace, store: Store
) -> IrModel | None:
    """The newest IR that answers the same wish and whose bytes are still there."""
    for ir in reversed(store.all(IrModel, parent=model.digest)):
        requested = (ir.precision, ir.target, Tolerances(ir.parity.tolerance, ir.parity.max_drop))
        if requested == (precision, target, limits) and _passes_still(ir) and _intact(ir, workspace):
            return ir
    return None


def _passes_still(ir: IrModel) -> bool:
    """Made by these versions, and good enough by today's rules."""
    place = parity.keeps_accuracy(*parity.score_pair(ir.parity), ir.parity.max_drop)
    return place and dict(ir.versions) == _versions(ir.precision, compat.find_target(ir.target))


def _intact(ir: IrModel, workspace: Workspace) -> bool:
    path = workspace.absolute(ir.path)
    return all(file.exists() for file in graphs.files_of(path)) and graphs.digest_of(path) == ir.digest


def _compared(source: ReferenceModel, split: Split, test: TestImages, path: Path, limits: Tolerances) -> Comparison:
    reference = source.reference(split, test)
    answers = parity.predict(path, test.chunks())
    return parity.compare(reference, answers, test.labels, limits.tolerance, limits.max_drop)


def _disagreement(title: str, origin: str, compared: Comparison, test: TestImages) -> ParityError:
    result = compared.parity
    if not parity.keeps_accuracy(*parity.score_pair(result), result.max_drop):
        least = f"{parity.MIN_ACCURACY_SHARE:.0%} of" if result.max_drop is None else f"{result.max_drop:g} below"
        what = "an accuracy" if result.micro_f1 is None else "a micro F1"
        ours, aim = parity.score_pair(result)
        return ParityError(
            f"{title} has {what} of {ours:.5f} on {result.images} test images; allowed is at least "
            f"{least} {origin}'s {aim:.5f}. The converted model was discarded",
            where=str(test.images[compared.worst].path),
            remedy="inspect that image, which differs most; or keep this model in fp32",
        )
    return ParityError(
        f"{title} differs from {origin} by up to {result.max_abs:.2e} on {result.images} test images; "
        f"allowed is {result.tolerance:.0e}. {_same(result).capitalize()}. The converted model was discarded",
        where=str(test.images[compared.worst].path),
        remedy="inspect that image; if the difference is acceptable, allow it with --tolerance, or with "
        "convert.tolerance in the experiment",
    )


def _publish(path: Path, workspace: Workspace) -> Path:
    """Move the finished folder to its content-addressed place, replacing a damaged one."""
    folder = workspace.folder("ir") / graphs.digest_of(path)
    if folder.exists():
        folder.rename(path.parent.with_name("damaged"))
    path.parent.rename(folder)
    return folder / path.name


def _log_parity(ir: IrModel, origin: str, progress: Progress) -> None:
    result = ir.parity
    progress.log(
        f"  {format_bytes(ir.size_bytes)} in {ir.seconds:.1f} s; at most {result.max_abs:.1e} from {origin} on {result.images} "
        f"images ({_allowed(result)}), {_same(result)}"
    )
    if ir.quantization is not None:
        _log_quantization(ir.quantization, progress)


def _same(result: Parity) -> str:
    what = "top-1 on" if result.micro_f1 is None else "decision on the labels in"
    return f"same {what} {result.top1_agreement:.1%}"


def _allowed(result: Parity) -> str:
    if result.max_drop is None:
        return f"allowed {result.tolerance:.0e}"
    ours, aim = parity.score_pair(result)
    what = "accuracy" if result.micro_f1 is None else "micro F1"
    return f"{what} {ours:.2%} of {aim:.2%}, allowed {result.max_drop:.2%} less"


def _log_quantization(details: Quantization, progress: Progress) -> None:
    place = f"; left in float: {', '.join(details.reverted)}" if details.reverted else ""
    progress.log(f"  {details.layers} layers in INT8 by {details.calibration_images} training images{place}")
