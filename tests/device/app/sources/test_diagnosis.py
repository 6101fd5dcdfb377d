from __future__ import annotations

import socket
import struct
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolkit.device.app.sources.diagnosis import explain_file, explain_rtsp

AUDIO_SDP = "v=0\r\ns=door\r\nm=audio 0 RTP/AVP 0\r\n"


@contextmanager
def rtsp_server(answer: bytes) -> Iterator[str]:
    """The address of a server that gives this answer to one request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(4096).startswith(b"DESCRIBE rtsp://127.0.0.1:")
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"rtsp://user:secret@127.0.0.1:{listener.getsockname()[1]}/live"
        thread.join(60)


def answer(status: str, body: str = "") -> bytes:
    return f"RTSP/1.0 {status}\r\nCSeq: 1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (answer("404 Not Found"), "the camera answers 404 Not Found"),
        (answer("401 Unauthorized"), "the camera refuses user or password (401)"),
        (answer("200 OK", AUDIO_SDP), "the camera sends audio only, no video"),
        (answer("200 OK", AUDIO_SDP.replace("audio", "video")), "no video frame of it can be decoded"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "answers, but not with RTSP"),
    ],
)
def test_explain_rtsp_names_the_cause(content: bytes, reason: str) -> None:
    with rtsp_server(content) as address:
        explained = explain_rtsp(address)
    assert reason in explained
    assert "secret" not in explained


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("rtsp://127.0.0.1:9/live", "port 9 refuses connections"),
        ("rtsp://camera.invalid/live", "the host name cannot be resolved"),
        ("rtsp://camera:port/live", "is not a valid address"),
    ],
)
def test_explain_rtsp_names_what_keeps_it_from_connecting(address: str, reason: str) -> None:
    assert reason in explain_rtsp(address)


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


FTYP = box(b"ftyp", b"isom")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is an empty file"),
        (FTYP + box(b"mdat", bytes(900))[:300], "is truncated: its index (the moov box) is missing"),
        (FTYP + box(b"moov", b"hdlr    soun"), "contains audio only, no video"),
        (FTYP + box(b"moov", b"hdlr    vide"), "contains no video frame that can be decoded"),
        (b"ID3\x04" + bytes(90), "contains audio only, no video (MP3)"),
        (b"RIFF" + struct.pack("<I", 9000) + b"AVI " + bytes(90), "is truncated, and no frame of it can be decoded"),
        (b"RIFF\0\0", "contains no video frame that can be decoded"),
    ],
)
def test_explain_file_names_the_cause(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file.mp4"
    path.write_bytes(content)
    assert explain_file(path) == reason


def test_explain_file_names_audio_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "sound.avi"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    assert explain_file(path) == "contains audio only, no video (WAV)"
    assert explain_file(tmp_path / "gone") == "cannot be read: No such file or directory"
