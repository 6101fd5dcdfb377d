from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.device.app.conftest import Serve
from toolkit.device.app.web.http import HttpError
from toolkit.device.app.web.open_inference import parse_path, parse_request, render_response

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
TENSOR = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 3, 3]}
BINARY = {**TENSOR, "parameters": {"binary_data_size": 18}}
JPEG = cv2.imencode(".jpg", np.full((40, 30, 3), 220, np.uint8))[1].tobytes()
MANIFEST = {"name": "net", "labels": ["dark", "light"]}
ANSWER = np.array([0.25, 0.75], np.float32)


def body(tensor: Any, binary: bytes = b"", **more: Any) -> tuple[bytes, str]:
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + binary, str(len(head))


def test_parse_request_reads_numbers_and_binary_tensors() -> None:
    content, _ = body({**TENSOR, "data": PIXELS.ravel().tolist()}, id="7")
    plain = parse_request(content, None)
    assert np.array_equal(plain.image, PIXELS)
    assert (plain.identity, plain.binary) == ("7", False)
    binary = parse_request(*body(BINARY, PIXELS.tobytes(), parameters={"binary_data_output": True}))
    assert np.array_equal(binary.image, PIXELS)
    assert binary.binary


def test_parse_request_reads_an_encoded_image() -> None:
    content = struct.pack("<I", len(JPEG)) + JPEG
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
    assert parse_request(*body(tensor, content)).image == JPEG


@pytest.mark.parametrize(
    ("content", "length", "status"),
    [
        (b"{", None, 400),
        (b"[]", None, 422),
        (b"{}", "9", 400),
        (b'{"inputs": []}', None, 422),
        (*body({**TENSOR, "name": "other", "data": []}), 422),
        (*body({**TENSOR, "data": [0] * 17}), 422),
        (*body({**TENSOR, "data": [256] * 18}), 422),
        (*body({**TENSOR, "data": ["a"] * 18}), 422),
        (*body({**TENSOR, "shape": [1, 2, 3, 4], "data": []}), 422),
        (*body({**TENSOR, "shape": [1, True, 3, 3], "data": []}), 422),
        (*body({**TENSOR, "datatype": "FP32", "data": []}), 422),
        (*body(BINARY, bytes(17)), 422),
        (*body({**BINARY, "datatype": "BYTES", "shape": [1]}, bytes(18)), 422),
        (*body(BINARY, bytes(18), outputs=[{"name": "other"}]), 422),
        (*body(BINARY, bytes(18), id=7), 422),
    ],
)
def test_parse_request_refuses(content: bytes, length: str | None, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        parse_request(content, length)
    assert caught.value.status == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("image"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*BINARY, "data"]), inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*BINARY, "data"]), JSON), JSON, st.binary(max_size=8))
def test_parse_request_gives_an_image_or_an_http_error(changes: dict[str, Any], outputs: Any, binary: bytes) -> None:
    with contextlib.suppress(HttpError):
        parse_request(*body({**BINARY, **changes}, binary, outputs=outputs))


def test_render_response_gives_numbers_or_a_binary_tensor() -> None:
    plain = parse_request(body({**TENSOR, "data": [0] * 18}, id="7")[0], None)
    shown = json.loads(render_response(MANIFEST, ANSWER, plain).body)
    assert (shown["id"], shown["outputs"][0]["data"]) == ("7", [0.25, 0.75])
    binary = parse_request(
        *body(BINARY, bytes(18), outputs=[{"name": "probabilities", "parameters": {"binary_data": True}}])
    )
    response = render_response(MANIFEST, np.array([0.75], np.float32), binary)
    length = int(response.headers["Inference-Header-Content-Length"])
    assert json.loads(response.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(response.body[length:], "<f4").tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("path", "parsed"),
    [
        ("/v2/models/net", ("net", "")),
        ("/v2/models/a%20b/ready", ("a b", "/ready")),
        ("/v2/models/net/versions/1/infer", ("net", "/infer")),
        ("/v2/models/net/versions/2", None),
        ("/v2/models/", None),
    ],
)
def test_parse_path_reads_the_model_and_the_action(path: str, parsed: tuple[str, str] | None) -> None:
    assert parse_path(path) == parsed


@pytest.mark.slow
def test_app_answers_the_protocol_as_its_own_api(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    name = app.ask("/v1/state").json["name"]
    assert [app.ask(f"/v2{path}").status for path in ("", "/health/live", "/health/ready")] == [200] * 3
    assert app.ask(f"/v2/models/{name}/ready").status == 200
    metadata = app.ask(f"/v2/models/{name}").json
    other = app.ask("/v2/models/other")
    assert (other.status, other.json["error"].partition(":")[0]) == (404, "not found")
    own = app.ask("/v1/predict", "POST", JPEG, Content_Type="image/jpeg").json
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(JPEG) + 4}}
    content, length = body(tensor, struct.pack("<I", len(JPEG)) + JPEG)
    answer = app.ask(f"/v2/models/{name}/infer", "POST", content, Inference_Header_Content_Length=length)
    shares = dict(zip(metadata["parameters"]["labels"], answer.json["outputs"][0]["data"], strict=True))
    assert shares == pytest.approx({one["label"]: one["probability"] for one in own["ranking"]})
    assert app.end()[0] == 0
