"""Files of other makers, each read twice: by OpenVINO's frontend into a graph, and by its own runtime for reference answers.

format         file                          its own runtime
keras          NAME.keras                    Keras, in safe mode: no code out of the file is run
saved-model    a folder with saved_model.pb  TensorFlow
onnx           NAME.onnx                     ONNX Runtime
tflite         NAME.tflite                   TensorFlow's interpreter
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit import hashing, networks
from toolkit.errors import ConversionError, DataError, MachineError, Problem, ToolkitError, UsageError
from toolkit.networks.tf_runtime import start_tensorflow

if TYPE_CHECKING:
    import openvino as ov

Numbers = npt.NDArray[Any]
Runtime = Callable[[Numbers], Numbers]
"""Answers one image in the model's own layout, type and scaling: [1,…] → [1,…]."""

RUNTIMES = {"keras": "Keras", "saved-model": "TensorFlow", "tflite": "TensorFlow Lite", "onnx": "ONNX Runtime"}
"""What gives the reference answers, for people."""

USUAL_LAYOUT = {"keras": "NHWC", "saved-model": "NHWC", "tflite": "NHWC", "onnx": "NCHW"}
"""Where nothing in the file tells."""
_FRONTENDS = {"saved-model": "tf", "onnx": "onnx", "tflite": "tflite"}
_MISSING = re.compile(r"(No conversion rule found for operations|Conversion is failed for): (.+)")


@dataclass(frozen=True, slots=True)
class Quantized:
    """How a TFLite model's integer answers are read: (number - zero) * scale."""

    scale: float
    zero: int


def format_of(path: Path) -> str:
    """Which of the formats `path` is.

    Raises:
        UsageError: none, or there is nothing.
    """
    if (path / "saved_model.pb").is_file():
        return "saved-model"
    kinds = {".keras": "keras", ".onnx": "onnx", ".tflite": "tflite"}
    if path.is_file() and path.suffix.lower() in kinds:
        return kinds[path.suffix.lower()]
    what = "is no model that can be read" if path.exists() else "no such file"
    remedy = "give a .keras, .onnx or .tflite file, or a folder with a saved_model.pb"
    raise UsageError(what, where=str(path), remedy=remedy)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file; of a folder, of its files' names and digests."""
    if path.is_file():
        return hashing.sha256_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return hashing.sha256_json({file.relative_to(path).as_posix(): hashing.sha256_file(file) for file in files})


def read(path: Path, kind: str, size: tuple[int, int] | None) -> ov.Model:
    """The graph in the file, its ends as they are.

    Raises:
        DataError: the file is damaged, or runs code of its own.
        ConversionError: with every operation that OpenVINO has no words for.
    """
    if kind == "keras":
        return networks.trace(_keras(path, size))
    from openvino.frontend import FrontEndManager

    frontend = FrontEndManager().load_by_framework(_FRONTENDS[kind])
    try:
        graph = frontend.convert(frontend.load(str(path)))
    except Exception as error:
        raise _explained(path, str(error)) from error
    if not graph.inputs or not graph.outputs:
        raise _damaged(path, f"no {kind} model was found in it")
    return graph


def runtime(path: Path, kind: str, size: tuple[int, int]) -> Runtime:
    """The format's own reader of the file.

    Raises:
        MachineError: it is not installed.
        DataError: it cannot read the file either.
    """
    makers: dict[str, Callable[[], Runtime]] = {
        "keras": lambda: _ask_keras(path, size),
        "saved-model": lambda: _ask_saved_model(path),
        "onnx": lambda: _ask_onnx(path),
        "tflite": lambda: _ask_tflite(path, size),
    }
    try:
        return makers[kind]()
    except ToolkitError:
        raise
    except ImportError as error:
        raise MachineError(f"reference answers need {error.name}", remedy="install the extra `train`") from None
    except Exception as error:
        raise _damaged(path, str(error)) from error


def output_quantization(path: Path, kind: str) -> Quantized | None:
    """How to read the answers of a TFLite file that gives integers; None for all else."""
    if kind != "tflite":
        return None
    (given,) = _interpreter(path).get_output_details()
    scale, zero = given["quantization"]
    return Quantized(float(scale), int(zero)) if np.issubdtype(given["dtype"], np.integer) else None


def _keras(path: Path, size: tuple[int, int] | None) -> Any:
    start_tensorflow()
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise _keras_problem(path, str(error)) from error
    if size is not None and len(model.inputs) == 1 and None in model.inputs[0].shape[1:3]:
        image = keras.Input((*size, 3))
        model = keras.Model(image, model(image))
    return model


def _keras_problem(path: Path, why: str) -> DataError:
    if "Lambda" in why or "lambda" in why:
        remedy = "replace its Lambda layers by layers of Keras, or export it as a SavedModel or ONNX"
        return DataError(
            "has a Lambda layer, which is code, and no code out of a file is run", where=str(path), remedy=remedy
        )
    found = re.search(r"Could not locate (?:class|function) '([^']+)'", why)
    if found:
        remedy = "export it as a SavedModel or ONNX, which hold the operations themselves"
        return DataError(
            f"has a layer of its maker's own, {found[1]}, which is not in the file", where=str(path), remedy=remedy
        )
    return _damaged(path, why)


def _ask_keras(path: Path, size: tuple[int, int]) -> Runtime:
    model = _keras(path, size)
    return lambda image: np.asarray(model(image, training=False))


def _ask_saved_model(path: Path) -> Runtime:
    tf = start_tensorflow()
    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]

    def ask(image: Numbers) -> Numbers:
        (answer,) = serve(**{name: tf.constant(image)}).values()
        return np.asarray(answer)

    ask.keeps = loaded  # type: ignore[attr-defined]  # its variables live as long as it does
    return ask


def _ask_onnx(path: Path) -> Runtime:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: np.asarray(session.run(None, {name: image})[0])


def _ask_tflite(path: Path, size: tuple[int, int]) -> Runtime:
    interpreter = _interpreter(path)
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(taken["index"], (1, *size, 3))
    interpreter.allocate_tensors()

    def ask(image: Numbers) -> Numbers:
        interpreter.set_tensor(taken["index"], image)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(given["index"]))

    return ask


def _interpreter(path: Path) -> Any:
    import warnings

    tf = start_tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will move to another package
        plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        return tf.lite.Interpreter(model_path=str(path), num_threads=1, experimental_op_resolver_type=plain)


def _explained(path: Path, why: str) -> ToolkitError:
    missing = _MISSING.search(why)
    if not missing:
        return _damaged(path, why)
    what = "does not know its operation" if missing[1].startswith("No") else "cannot take its operation as it is:"
    remedy = "export the model without it: by other layers, or with an older opset"
    names = [name.strip() for name in missing[2].split(",")]
    return ConversionError.from_problems([Problem(f"OpenVINO {what} {name}", str(path), remedy) for name in names])


def _damaged(path: Path, why: str) -> DataError:
    told = " ".join(why.strip().splitlines()[-1:]).strip()
    return DataError(f"cannot be read: {told[:300]}", where=str(path), remedy="export it again, or copy it again whole")
