"""Write a trained Keras model for LiteRT: float32, or INT8 with what follows its last layer left in float.

    Keras ─frozen, u8 image in▶ .tflite ─training images▶ ranges ▶ INT8 ─validation images▶ drop ≤ max_drop?

The INT8 form has the same judges as OpenVINO's (`int8.quantize`). What follows the last layer with weights, softmax or sigmoid,
stays in float: in INT8 a probability would have steps of 1/256.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.artifacts.bundle import Quantization
from toolkit.convert import parity
from toolkit.convert.int8.quantize import CalibrationData
from toolkit.convert.parity import Images
from toolkit.convert.reference import ReferenceModel
from toolkit.convert.runtimes import tflite_interpreter
from toolkit.device.layout import MODEL_TFLITE
from toolkit.errors import ConfigurationError, ConversionError
from toolkit.files import atomic_write
from toolkit.networks import start_tensorflow, tf_compat
from toolkit.networks.tf_runtime import native_noise_held_back
from toolkit.progress import Progress


def write_float(source: ReferenceModel, folder: Path) -> Path:
    """Write the float32 form of `source` into `folder` and return its path.

    Raises:
        ConfigurationError: the model was imported, so that there is no Keras model of it.
        ConversionError: TensorFlow Lite lacks an operation of it.
    """
    with _quiet():
        return _write(folder, _converted(_converter(source, _frozen(source))))


def write_int8(
    source: ReferenceModel, samples: CalibrationData, max_drop: float, folder: Path, progress: Progress
) -> tuple[Path, Quantization]:
    """Write the INT8 form of `source`, which loses at most `max_drop` of the accuracy on the validation images.

    Raises:
        ConfigurationError, ConversionError: as `write_float`; or the bound does not hold.
    """
    progress.log(f"  calibrating with {len(samples.calibration)} training images")
    with _quiet():
        frozen = _frozen(source)
        before_path = _write(folder / "float", _converted(_converter(source, frozen)))
    before = parity.score(parity.predict(before_path, [samples.validation]), samples.labels)
    with _quiet():
        in_float = _after_last_layer(before_path)
        path = _write(folder, _quantized(_converter(source, frozen), samples.calibration, in_float))
    before_path.unlink()
    before_path.parent.rmdir()
    after = parity.score(parity.predict(path, [samples.validation]), samples.labels)
    layers = sum(
        operation.in_int8
        for operation in tflite_interpreter.operations(path)
        if operation.kind in tflite_interpreter.LAYERS
    )
    return path, samples.judge(before, after, max_drop, layers=layers, left=layers)


def versions() -> dict[str, str]:
    """What decides a .tflite's bytes besides the model and its images."""
    return tf_compat.versions()


def _frozen(source: ReferenceModel) -> Any:
    """The Keras model as a function of one u8 image, with its weights as constants."""
    if source.model.imported:
        raise ConfigurationError(
            f"{source.model.imported.file} was imported, and target litert takes models that were trained here",
            remedy="convert it for target cpu",
        )
    tf = start_tensorflow()
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    model = source.keras

    @tf.function(input_signature=[tf.TensorSpec([1, *model.input_shape[1:]], tf.uint8, name="image")])  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def answer(image: Any) -> Any:
        probabilities = model(tf.cast(image, tf.float32), training=False)
        if probabilities.shape[-1] == 1:  # of the second of two classes alone
            probabilities = tf.concat([1 - probabilities, probabilities], axis=-1)
        return probabilities

    return convert_variables_to_constants_v2(answer.get_concrete_function())


def _converter(source: ReferenceModel, frozen: Any) -> Any:
    return start_tensorflow().lite.TFLiteConverter.from_concrete_functions([frozen], source.keras)


def _converted(converter: Any) -> bytes:
    try:
        content: bytes = converter.convert()
    except Exception as error:  # converter errors have several bases
        raise _refused(error) from error
    return content


def _quantized(converter: Any, calibration: Images, in_float: list[str]) -> bytes:
    lite = start_tensorflow().lite
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in calibration)
    options = lite.experimental.QuantizationDebugOptions(denylisted_nodes=in_float)
    try:
        debugger = lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
        )
        content: bytes = debugger.get_nondebug_quantized_model()
    except Exception as error:
        raise _refused(error) from error
    return content


def _refused(error: Exception) -> ConversionError:
    text = " ".join(str(error).split())
    return ConversionError(f"TensorFlow Lite cannot convert it: {text[:300]}", remedy="convert it for target cpu")


def _after_last_layer(path: Path) -> list[str]:
    """The names of what the operations after the last one with weights compute."""
    operations = list(tflite_interpreter.operations(path))
    last = max(
        (index for index, operation in enumerate(operations) if operation.kind in tflite_interpreter.LAYERS), default=-1
    )
    return [operation.output for operation in operations[last + 1 :]]


def _write(folder: Path, content: bytes) -> Path:
    path = folder / MODEL_TFLITE
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write(content)
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow's converter prints to both streams, and warns of what it was told to do."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with native_noise_held_back(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
