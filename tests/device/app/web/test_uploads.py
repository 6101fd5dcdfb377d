from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.device.app.web.http import HttpError
from toolkit.device.app.web.uploads import image_in

IMAGE = b"\xff\xd8\xff\r\n--x\r\n\xff\xd9"
FORM = "multipart/form-data; boundary=----abc"


def form(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(b"------abc\r\n%s\r\n\r\n%s\r\n" % (head.encode(), content) for head, content in parts)
    return body + b"------abc--\r\n"


@pytest.mark.parametrize(
    "kind", [None, "image/jpg", "image/jpeg", "IMAGE/PNG; q=1", "application/octet-stream", "image/x-whatever"]
)
def test_image_in_takes_a_body_of_any_image_type_or_none(kind: str | None) -> None:
    assert image_in(IMAGE, kind) == IMAGE


def test_image_in_takes_the_body_that_curl_labels_as_a_form() -> None:
    assert image_in(IMAGE, "application/x-www-form-urlencoded") == IMAGE


def test_image_in_takes_the_file_of_a_form() -> None:
    field, file = (
        'Content-Disposition: form-data; name="a"',
        'Content-Disposition: form-data; name="f"; filename="x.jpg"',
    )
    assert image_in(form((field, b"text"), (file, IMAGE)), FORM) == IMAGE
    assert image_in(form((field, IMAGE)), FORM) == IMAGE
    assert image_in(form((file, b"")), FORM) == b""


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"x", "text/plain; charset=utf-8", 415),
        (IMAGE, "multipart/mixed; boundary=x", 415),
        (IMAGE, "multipart/form-data", 400),
        (IMAGE, FORM, 422),
        (b"------abc--\r\n", FORM, 422),
    ],
)
def test_image_in_refuses(content: bytes, kind: str, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        image_in(content, kind)
    assert caught.value.status == status


@given(st.binary(max_size=400), st.none() | st.text(max_size=60) | st.just(FORM))
def test_image_in_gives_bytes_or_an_http_error(content: bytes, kind: str | None) -> None:
    try:
        image = image_in(content, kind)
    except HttpError:
        return
    assert isinstance(image, bytes)
