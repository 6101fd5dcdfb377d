"""The formats that can be imported.

format         file                          reference runtime
keras          NAME.keras, NAME.h5           Keras; runs no code from the file
saved-model    a folder with saved_model.pb  TensorFlow, on one signature of operations that only compute
frozen-graph   NAME.pb                       the same
onnx           NAME.onnx, with its .data     ONNX Runtime
tflite         NAME.tflite                   TensorFlow Lite's interpreter
openvino       NAME.xml, with its .bin       OpenVINO
"""

from __future__ import annotations

from pathlib import Path

from toolkit.convert.imported.formats.model_file import ModelFile
from toolkit.convert.imported.formats.onnx_file import OnnxFile
from toolkit.convert.imported.formats.openvino_file import OpenvinoFile
from toolkit.convert.imported.formats.tensorflow_files import FrozenGraphFile, KerasFile, SavedModelFile
from toolkit.convert.imported.formats.tflite_file import TfliteFile
from toolkit.errors import UsageError

FORMATS: dict[str, type[ModelFile]] = {
    kind.format: kind for kind in (KerasFile, SavedModelFile, FrozenGraphFile, OnnxFile, TfliteFile, OpenvinoFile)
}
_SUFFIXES = {
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".pb": "frozen-graph",
    ".onnx": "onnx",
    ".tflite": "tflite",
    ".xml": "openvino",
}
_READABLE = "a .keras, .h5, .onnx, .tflite, .pb or OpenVINO .xml file, or a folder with a saved_model.pb"
_REMEDIES = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors", ".pkl"), "export it from PyTorch with torch.onnx.export"),
    ".bin": "use the .xml file beside it",
    ".data": "use the .onnx file beside it",
    ".mlmodel": "export it as ONNX",
    ".zip": "unpack it, and use the model in it",
}


def format_of(path: Path) -> str:
    """The format of the file or folder at `path`.

    Raises:
        UsageError: the format is unknown, or the file does not exist.
    """
    folder = path.parent if path.name == "saved_model.pb" else path
    if (folder / "saved_model.pb").is_file():
        return "saved-model"
    if not path.exists():
        raise UsageError("no such file", where=str(path), remedy=f"give {_READABLE}")
    kind = _SUFFIXES.get(path.suffix.lower()) if path.is_file() else None
    if kind is None:
        remedy = _REMEDIES.get(path.suffix.lower(), f"give {_READABLE}")
        raise UsageError("is not a model in a format that can be imported", where=str(path), remedy=remedy)
    return kind


def open_model(path: Path, size: tuple[int, int] | None = None, signature: str = "") -> ModelFile:
    """The model at `path`; nothing is read yet.

    Raises:
        UsageError: it is in none of the formats.
    """
    kind = format_of(path)
    return FORMATS[kind](path.parent if path.name == "saved_model.pb" else path, size, signature)
