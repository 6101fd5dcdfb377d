"""Open Inference Protocol (KServe v2) over HTTP: parsing of requests and rendering of responses, with binary tensors.

The loaded model has one input and one output:

    image           UINT8 [1, height, width, 3], RGB, of any size; or BYTES [1], an encoded image
    probabilities   FP32 [1, classes], in the order of the labels
"""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Union
from urllib.parse import unquote

import numpy as np

from .http import HttpError, Response, json_object, json_response

if TYPE_CHECKING:
    from ..pipeline.messages import Answer, Pixels

INPUT, OUTPUT, VERSION = "image", "probabilities", "1"
HEADER_LENGTH = "Inference-Header-Content-Length"
PATH = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/1)?(?P<action>/ready|/infer)?")
EXTENSIONS = ("binary_tensor_data",)
_REMEDY = f'send {INPUT} as UINT8 [1, height, width, 3], or as BYTES [1] with an encoded image; see "/v2/models/NAME"'


@dataclass(frozen=True)
class InferenceRequest:
    """One parsed request."""

    image: Union["Pixels", bytes]
    """RGB pixels u8 [height, width, 3], or the bytes of an image file."""
    identity: Optional[str]
    binary: bool
    """Whether the client asked for a binary output."""


def server_metadata(version: str) -> Dict[str, Any]:
    """Return the metadata of the server."""
    return {"name": "edge-vision-toolkit", "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Return the metadata of the loaded model."""
    return {
        "name": str(manifest.get("name", "")),
        "versions": [VERSION],
        "platform": "litert" if manifest.get("target") == "litert" else "openvino",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [1, -1, -1, 3]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [1, len(manifest["labels"])]}],
        "parameters": {"labels": list(manifest["labels"])},
    }


def parse_request(content: bytes, header_length: Optional[str]) -> InferenceRequest:
    """Return the request in a body, of which the first `header_length` bytes are JSON.

    Raises:
        HttpError: the body does not follow the protocol, or is not for this model.
    """
    length = _length(header_length, len(content))
    document = json_object(content[:length])
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _refused("'inputs' must be a list of one tensor")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise _refused("'id' must be a string")
    return InferenceRequest(_image(inputs[0], content[length:]), identity, _wants_binary(document))


def _length(text: Optional[str], size: int) -> int:
    if text is None:
        return size
    if not re.fullmatch(r"\d{1,9}", text) or int(text) > size:
        raise HttpError(400, f"{HEADER_LENGTH} is not a number up to the length of the body")
    return int(text)


def _image(tensor: Dict[str, Any], binary: bytes) -> Union[Pixels, bytes]:
    if tensor.get("name") != INPUT:
        raise _refused(f"the model has no input {tensor.get('name')!r}")
    shape: Any = tensor.get("shape")
    kind = tensor.get("datatype")
    if kind == "BYTES" and shape == [1]:
        return _encoded(tensor, binary)
    if kind != "UINT8" or not _is_image_shape(shape):
        raise _refused(f"{kind} {shape} is not an image")
    count = shape[1] * shape[2] * 3
    values = _values(tensor, binary, count)
    if values.size != count:
        raise _refused(f"the tensor has {values.size} values, not {count}")
    return values.reshape(shape[1], shape[2], 3)


def _is_image_shape(shape: Any) -> bool:
    whole = isinstance(shape, list) and len(shape) == 4 and all(type(side) is int for side in shape)
    return whole and shape[0] == 1 and shape[3] == 3 and min(shape) > 0 and max(shape) <= 1 << 16


def _binary_size(tensor: Dict[str, Any]) -> Any:
    parameters = tensor.get("parameters")
    return parameters.get("binary_data_size") if isinstance(parameters, dict) else None


def _values(tensor: Dict[str, Any], binary: bytes, count: int) -> Pixels:
    if "data" not in tensor:
        if _binary_size(tensor) != len(binary):
            raise _refused("binary_data_size is not the number of bytes after the JSON document")
        return np.frombuffer(binary, np.uint8)
    data = tensor["data"]
    try:
        values = np.asarray(data, dtype=np.int64) if isinstance(data, list) and len(data) <= count else None
    except (ValueError, TypeError, OverflowError):
        values = None
    if values is None or (values.size and (values.min() < 0 or values.max() > 255)):
        raise _refused("'data' must be a list of integers from 0 to 255")
    return values.astype(np.uint8).ravel()


def _encoded(tensor: Dict[str, Any], binary: bytes) -> bytes:
    """Return the one element of a BYTES tensor; in binary form its length comes first."""
    if "data" in tensor:
        raise _refused("an encoded image must be sent as binary data")
    if len(binary) < 4 or struct.unpack("<I", binary[:4])[0] != len(binary) - 4 or _binary_size(tensor) != len(binary):
        raise _refused("the lengths of the BYTES tensor do not fit the body")
    return binary[4:]


def _wants_binary(document: Dict[str, Any]) -> bool:
    """Return whether the output is requested in binary form, for the output or for all of them."""
    outputs: List[Any] = document["outputs"] if isinstance(document.get("outputs"), list) else []
    for output in outputs:
        if not isinstance(output, dict) or output.get("name") != OUTPUT:
            raise _refused(f"the model has one output, {OUTPUT}")
    settings = [output.get("parameters") for output in outputs] + [document.get("parameters")]
    flags = [
        entry[name]
        for entry in settings
        if isinstance(entry, dict)
        for name in ("binary_data", "binary_data_output")
        if name in entry
    ]
    return bool(flags) and flags[0] is True


def render_response(manifest: Dict[str, Any], answer: Answer, request: InferenceRequest) -> Response:
    """Return the response with the probabilities; a single value becomes those of both labels."""
    values = np.array([1 - answer[0], answer[0]], np.float32) if len(answer) == 1 else np.asarray(answer, np.float32)
    output: Dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": [1, len(values)]}
    document: Dict[str, Any] = {"model_name": str(manifest.get("name", "")), "model_version": VERSION}
    if request.identity is not None:
        document["id"] = request.identity
    if not request.binary:
        return json_response({**document, "outputs": [{**output, "data": [float(value) for value in values]}]})
    binary = values.astype("<f4").tobytes()
    output["parameters"] = {"binary_data_size": len(binary)}
    head = json.dumps({**document, "outputs": [output]}).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return Response(200, headers, head + binary)


def parse_path(path: str) -> Optional[Tuple[str, str]]:
    """Return the model's name and the action ("", "/ready" or "/infer") of a path; None for other paths."""
    match = PATH.fullmatch(path)
    return None if match is None else (unquote(match["model"]), match["action"] or "")


def _refused(what: str) -> HttpError:
    return HttpError(422, what, _REMEDY)
