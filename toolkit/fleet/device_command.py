"""The commands that run a release's code: with the device's interpreter, or in the container image that the release names.

The release's file `container-image` decides, so a command works the same on every device, and a rollback also returns to the
earlier container image. The release and the images are mounted read-only at their own paths; the release contains the code,
and the container image provides the interpreter, OpenVINO, OpenCV and NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.artifacts.fleet import Device
from toolkit.device.activation.release_code import CONTAINER, RUN


def in_runtime(device: Device, folder: str, *argv: str, network: str = "none") -> list[str]:
    """Return `python -m device ARGS` in a release's folder, in the release's container image if it names one."""
    own = [device.python, "-B", "-m", "device", *argv]
    return ["/bin/sh", "-c", RUN, "sh", device.root, folder, network, device.accelerator, *own]


def probe(device: Device, container_image: str, *options: str) -> Sequence[str]:
    """Return the command that runs the probe from stdin in a container image."""
    script = rf"""{CONTAINER} in_container "$1" "$2" '' none "$3" -B - --root "$2" $4"""
    return ["/bin/sh", "-c", script, "sh", container_image, device.root, device.accelerator, " ".join(options)]
