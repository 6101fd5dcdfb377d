"""Uploaded images: the body itself, or a file in a multipart form (`curl -F file=@image.jpg`).

The image's own header determines its format, whatever image type the request names.
"""

from __future__ import annotations

import re
from email.message import Message
from typing import Optional

from .http import HttpError

_FORM = "multipart/form-data"
_REFUSED = ("text/", "application/json", "application/xml", "multipart/")
_HEAD_BYTES = 8192


def image_in(content: bytes, content_type: Optional[str]) -> bytes:
    """Return the bytes of the image in a body.

    Raises:
        HttpError: the content type is not of an image, or the form contains no file.
    """
    message = Message()
    message["Content-Type"] = content_type or "application/octet-stream"
    kind = message.get_content_type()
    if kind == _FORM:
        return _first_file(content, str(message.get_param("boundary") or ""))
    if content_type and kind.startswith(_REFUSED):
        raise HttpError(
            415, f"{kind} is not an image", f"send image/jpeg or another image type, or {_FORM} with a file"
        )
    return content


def _first_file(content: bytes, boundary: str) -> bytes:
    """Return the first part with a file name, else the first part (RFC 7578)."""
    if not re.fullmatch(r"[ -~]{1,70}", boundary):
        raise HttpError(400, "the form has no valid boundary")
    mark = b"--" + boundary.encode()
    parts = (b"\r\n" + content).split(b"\r\n" + mark, 64)[1:]
    first = None
    for part in parts:
        head, blank, body = part.partition(b"\r\n\r\n")
        if not blank or len(head) > _HEAD_BYTES or part.startswith(b"--"):
            continue
        if b"filename" in head:
            return body
        first = body if first is None else first
    if first is None:
        raise HttpError(422, "the form contains no file", "send it as: curl -F file=@image.jpg")
    return first
