"""The API against its own OpenAPI document, by schemathesis: what it is sent at random, and what it says to that."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from toolkit.device.app.web.openapi import openapi_document

from .conftest import TOKEN, App, Serve

IMAGES = {
    f"image/{name}": bytes(cv2.imencode(suffix, np.full((40, 30, 3), 99, np.uint8))[1])
    for name, suffix in (("jpeg", ".jpg"), ("png", ".png"), ("webp", ".webp"), ("bmp", ".bmp"))
}
for kind, content in IMAGES.items():
    schemathesis.openapi.media_type(kind, st.just(content))
schemathesis.openapi.media_type("application/octet-stream", st.just(IMAGES["image/jpeg"]))

ENDLESS = ("/stream", "/v1/events")
api = schemathesis.openapi.from_dict(openapi_document()).exclude(path_regex=f"^({'|'.join(ENDLESS)})$")


@pytest.fixture
def app(serve: Serve, root: Path, token_file: Path) -> Iterator[App]:
    running = serve(root / "current", "--token-file", token_file, "--predictions", "1000", "--fps", "2")
    while running.ask("/ready").status != 200:
        time.sleep(0.1)  # without a pause it would use up what a client may ask
    yield running
    code, answer, log = running.end()
    assert (code, answer["ok"]) == (0, True)
    assert "error: " not in log


@pytest.mark.slow
@api.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_api_keeps_its_promises(app: App, case: Any) -> None:
    case.call_and_validate(base_url=app.url, headers={"Authorization": f"Bearer {TOKEN}"})


def test_document_is_what_the_app_gives(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    answer = app.ask("/openapi.json").json
    assert answer == json.loads(json.dumps(openapi_document()))
    assert answer["openapi"] == "3.1.0"
    for path in ENDLESS:
        assert "200" in answer["paths"][path]["get"]["responses"]
