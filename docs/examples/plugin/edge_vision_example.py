"""An example plugin: a data format, a network, and a check of `toolkit doctor`."""

from __future__ import annotations

import grp
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.data.formats.scan import ImageFile, Scan
from toolkit.doctor import Check, Finding, Place
from toolkit.errors import DataError
from toolkit.experiment.schema import DataConfig
from toolkit.networks import Network
from toolkit.networks.scaling import SYMMETRIC
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import keras


def read_name_list(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """Read a text file with a line "LABEL: FILE" for each image; `root` is the path of the table, which is whole."""
    del table, workspace, progress
    lines = [line.split(": ", 1) for line in root.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not all(len(line) == 2 for line in lines):
        raise DataError("has a line that is not LABEL: FILE", where=str(root))
    return Scan(root, tuple(ImageFile(root.parent / file, label, None) for label, file in lines))


def _build_tiny(size: tuple[int, int], *, pretrained: bool, progress: Progress) -> keras.Model:
    """Return the body: scaled images [n, height, width, 3] to a feature map [n, height / 4, width / 4, 16]."""
    import keras

    if pretrained:
        progress.log("tiny_net has no ImageNet weights; it begins with random ones")
    image = keras.Input((*size, 3))
    features = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    features = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(features)
    return keras.Model(image, features, name="tiny_net")


TINY_NET = Network(
    name="tiny_net",
    title="Tiny net",
    build=_build_tiny,
    input_size=64,
    smallest=8,
    scaling=SYMMETRIC,
    weights_from="nowhere",
)


def _check_group(place: Place) -> Iterator[Finding]:
    del place
    names = {group.gr_name for group in grp.getgrall()}
    yield (
        Finding("good", "cameras belong to the group video")
        if "video" in names
        else Finding("warning", "there is no group video", "create it, or run the app as root")
    )


CAMERA_GROUP = Check("camera-group", "toolkit serve with a camera", _check_group)
