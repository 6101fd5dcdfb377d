"""LiteRT on this machine, for the answers and the operations of a .tflite that was just written."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

LAYERS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
"""Operations with weights."""


class TfliteOperation(NamedTuple):
    """An operation of a model: its type, whether it computes in INT8, and the name of its first output."""

    kind: str
    in_int8: bool
    output: str


def predict(path: Path, chunks: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    """The probabilities, f32 [n, classes], for u8 [n,H,W,3] images that come in chunks."""
    interpreter = _open(path)
    (image,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for chunk in chunks:
        for pixels in chunk:
            interpreter.set_tensor(image["index"], pixels[np.newaxis])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(answer["index"])[0])
    return np.stack(rows).astype(np.float32)


def operations(path: Path) -> Iterator[TfliteOperation]:
    """Yield the operations of a model in their order, without the delegates that execute them."""
    interpreter = _open(path)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    for each in interpreter._get_ops_details():  # noqa: SLF001 - LiteRT has no other list of them
        if each["op_name"] != "DELEGATE":
            in_int8 = tensors.get(each["inputs"][0], {}).get("dtype") is np.int8
            yield TfliteOperation(each["op_name"], in_int8, tensors[each["outputs"][0]]["name"])


def _open(path: Path) -> Any:
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter
