"""Every parser of bytes from outside, with a whole input to start from: one table for the property tests and `just fuzz`."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from toolkit.artifacts.fleet import Device
from toolkit.data.formats import idx, voc
from toolkit.data.formats.matlab import read_mat
from toolkit.data.formats.pickles import read_pickle
from toolkit.deploy.registry.device_reports import parse_report
from toolkit.deploy.status import drift, parse
from toolkit.device.app.alerts import mqtt
from toolkit.device.app.web.http import HttpError, body_length, parse_head
from toolkit.device.app.web.uploads import image_in
from toolkit.device.capture_record import CaptureRecord, read_record
from toolkit.device.errors import DeviceError
from toolkit.device.image_header import read_header
from toolkit.device.image_io import ImageError, read_image
from toolkit.device.release.descriptor import parse_descriptor
from toolkit.device.release.freshness import parse_statement
from toolkit.device.release.manifest import parse_object
from toolkit.device.release.receiver import iter_chunks, iter_members
from toolkit.errors import DataError, Problem, ToolkitError
from toolkit.fleet.inventory.device import parse_device
from toolkit.fleet.inventory.passwords import Passwords
from toolkit.fleet.inventory.variables import unwrap

from .http_cycle import converse
from .http_cycle import seeds as http_seeds

IMAGE_BYTES = 64 << 20


@dataclass(frozen=True)
class Target:
    """A parser, inputs that it accepts, and the errors by which it may refuse others."""

    parse: Callable[[bytes], object]
    seeds: Callable[[], tuple[bytes, ...]]
    refusals: tuple[type[Exception], ...]

    def run(self, content: bytes) -> bool:
        """Return whether the parser accepted it; raises what it must not."""
        try:
            self.parse(content)
        except self.refusals:
            return False
        return True


class _Stream:
    """A socket that holds these bytes, and gives them piece by piece."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def recv(self, size: int) -> bytes:
        return self._content.read(min(size, 7))


def _tar(*members: tuple[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def _tar_seeds() -> tuple[bytes, ...]:
    return (_tar(("layout.json", b"{}"), ("a" * 64, b"chunk"), ("b" * 64 + ".z", zlib.compress(b"chunk"))),)


def _idx_seeds() -> tuple[bytes, ...]:
    whole = struct.pack(">HBB3I", 0, 8, 3, 3, 2, 2) + bytes(range(12))
    return whole, gzip.compress(whole)


def _idx(content: bytes) -> object:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        return idx.parse_idx(Path(file.name), 3)


def _pickle_seeds() -> tuple[bytes, ...]:
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1], b"filenames": [b"a", b"b"]}
    return tuple(pickle.dumps(batch, protocol=protocol) for protocol in (2, 4))


def _mat_seeds() -> tuple[bytes, ...]:
    def element(kind: int, body: bytes) -> bytes:
        return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)

    matrix = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1, 3)) + element(1, b"labels")
    whole = element(14, matrix + element(9, struct.pack("<3d", 1, 2, 3)))
    packed = zlib.compress(whole)
    return (
        b"MATLAB 5.0".ljust(124)
        + struct.pack("<H", 0x0100)
        + b"IM"
        + whole
        + struct.pack("<II", 15, len(packed))
        + packed,
    )


@cache
def _image_seeds() -> tuple[bytes, ...]:
    pixels = np.random.default_rng(1).integers(0, 256, (9, 13, 3), np.uint8)
    kinds = (".jpg", ".png", ".webp", ".bmp", ".ppm", ".tiff", ".gif")
    progressive = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    return (*(cv2.imencode(kind, pixels)[1].tobytes() for kind in kinds), progressive)


def _image(content: bytes) -> object:
    return read_image(content, IMAGE_BYTES)


def _descriptor_seeds() -> tuple[bytes, ...]:
    entry = {"path": "model.bin", "sha256": "0" * 64, "size_bytes": 3}
    listed = {"model.bin": {"sha256": "0" * 64, "size_bytes": 3}}
    documents = ({"place": "releases/x", "files": [entry]}, {"bundle": "b", "files": listed})
    return (b"\0".join(json.dumps(document).encode() for document in documents),)


def _descriptor(content: bytes) -> object:
    layout, _, release = content.partition(b"\0")
    return parse_descriptor("fuzz", {"layout.json": layout, "release.json": release})


def _statement_seeds() -> tuple[bytes, ...]:
    fields = {"format": 1, "channel": "stable", "counter": 3, "release": "a", "created": 1, "expires": 2}
    return (json.dumps({**fields, "signers": ["ann", "bob"], "threshold": 2}).encode(),)


def _manifest_seeds() -> tuple[bytes, ...]:
    return (json.dumps({"format": 1, "files": {"a": {"sha256": "0" * 64, "size_bytes": 3}}}).encode(),)


def _report_seeds() -> tuple[bytes, ...]:
    return (json.dumps({"device": "pi", "release": "a", "serves": "a", "outcome": "deployed", "reason": ""}).encode(),)


def _status_seeds() -> tuple[bytes, ...]:
    return (
        b"current:1700000000 'current' -> 'releases/abc'\ncurrent/release.json:{\"bundle\":\"def\"}\nagent:0 755\n",
    )


def _status(content: bytes) -> object:
    text = content.decode(errors="replace")
    return parse(Device(name="pi", host="pi"), text), drift(text, "abc")


def _head_seeds() -> tuple[bytes, ...]:
    return (b"POST /v1/predict?x=1 HTTP/1.1\r\nHost: pi\r\nContent-Length: 12\r\nContent-Type: image/png\r\n\r\n",)


def _head(content: bytes) -> object:
    return body_length(parse_head(content)[-1])


def _form_seeds() -> tuple[bytes, ...]:
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nbytes\r\n--x--\r\n'
    return (part,)


def _inventory_seeds() -> tuple[bytes, ...]:
    values = {"ansible_host": "pi", "ansible_port": 22, "ansible_user": "pi", "toolkit_root": "/opt/toolkit"}
    more = {
        "ansible_ssh_common_args": "-o StrictHostKeyChecking=yes",
        "ansible_password": "x",
        "toolkit_python": "python",
    }
    return (json.dumps(values | more).encode(),)


def _inventory(content: bytes) -> object:
    values = unwrap(json.loads(content))
    problems: list[Problem] = []
    return parse_device(
        "pi", values if isinstance(values, dict) else {}, (), Path("inventory.yml"), {}, Passwords(), problems
    )


def _voc_seeds() -> tuple[bytes, ...]:
    objects = "<object><name>dog</name><difficult>1</difficult></object><object><name>cat</name></object>"
    whole = f"<annotation><filename>1.jpg</filename>{objects}</annotation>"
    return whole.encode(), f'<?xml version="1.0" encoding="utf-16"?>{whole}'.encode("utf-16")


def _voc(content: bytes) -> object:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        return voc._annotated(Path(file.name))


def _mqtt_seeds() -> tuple[bytes, ...]:
    agreed = b"\0\0\x0a\x13\0\x1e\x1f\0\x04busy"
    return b"\x20\x02\x00\x00", mqtt.packet(0x20, agreed), mqtt.packet(0x40, b"\x00\x01"), mqtt.packet(0x30, bytes(300))


def _mqtt(content: bytes) -> object:
    stream: Any = _Stream(content)
    kind, body = mqtt.receive(stream)
    return kind, mqtt.properties(body[2:]) if kind == mqtt.CONNACK and len(body) > 2 else body


_DIGEST = "ab" * 32


def _capture_seeds() -> tuple[bytes, ...]:
    time = "2026-11-30T10:00:00+00:00"
    return (CaptureRecord(_DIGEST, "r", "cam", time, "unsure", "a", 0.6, (0.6, 0.4), 0.5, True).to_json(),)


TARGETS: dict[str, Target] = {
    "HTTP head": Target(_head, _head_seeds, (HttpError,)),
    "HTTP form": Target(
        lambda content: image_in(content, "multipart/form-data; boundary=x"), _form_seeds, (HttpError,)
    ),
    "HTTP connection": Target(converse, lambda: http_seeds(_image_seeds()[1]), (ValueError,)),
    "tar members": Target(lambda content: list(iter_members(io.BytesIO(content))), _tar_seeds, ()),
    "tar chunks": Target(lambda content: list(iter_chunks(io.BytesIO(content))), _tar_seeds, ()),
    "offer": Target(_descriptor, _descriptor_seeds, (DeviceError,)),
    "statement": Target(lambda content: parse_statement(content, "fuzz"), _statement_seeds, (DeviceError,)),
    "manifest": Target(lambda content: parse_object(content, "fuzz"), _manifest_seeds, (DeviceError,)),
    "registry report": Target(lambda content: parse_report("pi", content, {"a"}), _report_seeds, ()),
    "device status": Target(_status, _status_seeds, ()),
    "capture": Target(lambda content: read_record(content, _DIGEST), _capture_seeds, (ValueError,)),
    "inventory": Target(_inventory, _inventory_seeds, (ToolkitError, ValueError, RecursionError)),
    "idx": Target(_idx, _idx_seeds, (ValueError,)),
    "CIFAR": Target(read_pickle, _pickle_seeds, (ValueError,)),
    "VOC": Target(_voc, _voc_seeds, (DataError,)),
    "MAT": Target(read_mat, _mat_seeds, (ValueError,)),
    "image header": Target(read_header, _image_seeds, (ImageError, ValueError)),
    "image": Target(_image, _image_seeds, (ImageError,)),
    "MQTT": Target(_mqtt, _mqtt_seeds, (OSError,)),
}
