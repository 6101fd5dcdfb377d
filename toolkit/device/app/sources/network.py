"""Network cameras over HTTP: MJPEG streams and still images are read here, other video by OpenCV.

The JPEGs of an MJPEG stream are passed on as they arrive, so the decode stage sees and counts damaged ones.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import Any, Optional, Tuple
from urllib.parse import unquote, urlsplit

import numpy as np

from ... import image_io
from ...image_header import JPEG_MAGIC
from .base import DamagedFrameError, RawFrame, SourceLost, redact_address
from .diagnosis import TIMEOUT_S, explain_connection, explain_status
from .mjpeg import MOST_BYTES, MjpegStream
from .opencv import FfmpegStream

POLLS_A_SECOND = 5.0
"""Most requests per second for a still image."""
FRAME_S = 10.0
"""Longest time that one image may take to arrive."""
_BLOCK = 1 << 16


class HttpCamera:
    """A network camera at an http(s) address; its name does not show the password of the address."""

    live = True

    def __init__(self, address: str, fps: float) -> None:
        self.name = redact_address(address)
        self.fps: Optional[float] = None
        self._address, self._login = _split_login(address)
        self._polls = min(fps, POLLS_A_SECOND) or POLLS_A_SECOND
        self._video = FfmpegStream(address)
        self._first: Optional[bytes] = None
        self._stream: Optional[MjpegStream] = None

    def open(self) -> None:
        """See Source."""
        self.close()
        self.fps = None
        response = self._request()
        kind = response.headers.get_content_type()
        if kind == "multipart/x-mixed-replace":
            self._stream = MjpegStream(response)
        elif kind.startswith("image/"):
            self._first, self.fps = _body(response), self._polls
        else:
            response.close()
            self._open_video(kind)

    def _open_video(self, kind: str) -> None:
        if kind.startswith(("audio/", "text/")):
            raise SourceLost(f"the camera sends {kind}, no video")
        self._video.open()

    def _request(self) -> Any:
        """Return the open response to a GET request.

        Raises:
            SourceLost: the camera cannot be reached, or answers with an error.
        """
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, self._address, *self._login)
        opener = urllib.request.build_opener(
            urllib.request.HTTPBasicAuthHandler(passwords), urllib.request.HTTPDigestAuthHandler(passwords)
        )
        try:
            return opener.open(self._address, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            raise SourceLost(explain_status(error.code, error.reason, login=bool(self._login[0]))) from None
        except urllib.error.URLError as error:
            raise SourceLost(self._explain(error.reason)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SourceLost(self._explain(error)) from None

    def _explain(self, error: object) -> str:
        if not isinstance(error, OSError):
            return f"the camera does not answer with HTTP: {error}"
        parts = urlsplit(self._address)
        return explain_connection(error, parts.port or (443 if parts.scheme == "https" else 80))

    def read(self) -> RawFrame:
        """See Source."""
        if self._stream is not None:
            return self._stream.next_image()
        if self.fps is None:
            return self._video.read()
        content, self._first = self._first, None
        return _to_frame(_body(self._request()) if content is None else content, self.name)

    def close(self) -> None:
        """See Source."""
        self._video.close()
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _split_login(address: str) -> Tuple[str, Tuple[str, str]]:
    """Return the address without user and password, and these."""
    login, at, _ = urlsplit(address).netloc.rpartition("@")
    user, _, password = login.partition(":")
    return (address.replace(login + at, "", 1) if at else address), (unquote(user), unquote(password))


def _body(response: Any) -> bytes:
    """Return the body of a still image's response."""
    deadline, content = time.monotonic() + FRAME_S, bytearray()
    with response:
        try:
            while len(content) <= MOST_BYTES and time.monotonic() < deadline:
                block = response.read1(_BLOCK)
                if not block:
                    return bytes(content)
                content += block
        except (OSError, http.client.HTTPException) as error:
            raise SourceLost(f"gives no more images: {str(error) or type(error).__name__}") from None
    raise SourceLost(f"an image has more than {MOST_BYTES >> 20} MB or takes more than {FRAME_S:g} s")


def _to_frame(content: bytes, name: str) -> RawFrame:
    """Return a still image; JPEGs undecoded."""
    if content.startswith(JPEG_MAGIC):
        return content
    try:
        return np.ascontiguousarray(image_io.read_image(content)[..., ::-1])
    except image_io.ImageError as error:
        raise DamagedFrameError(f"an image of {name}: {error}") from None
