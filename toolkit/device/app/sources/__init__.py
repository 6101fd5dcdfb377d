"""Frame sources, each named by a spec.

    pattern                     a moving test pattern, half of it dark, half of it light
    /data/images                a folder of images, by name, repeated
    /data/street.mp4            a video file, repeated
    /dev/video0, 0              a Video4Linux camera, such as a USB webcam
    picamera, picamera:1        the Raspberry Pi's own camera, through picamera2
    rtsp://camera.example/live  a network camera
    http(s)://…                 a network camera that sends MJPEG or other video, or a still image, which is polled
    @/etc/toolkit/camera        the spec in this file: for addresses that contain a password
    none                        no camera: the API alone

Sources that are not live are read at the requested rate, video files at most at their own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from ...errors import DeviceError
from . import files, opencv
from .base import CaptureOptions, Source
from .network import HttpCamera
from .picamera import RaspberryPiCamera

KINDS = "pattern, a folder, a video file, /dev/videoN, picamera, rtsp://…, @FILE with one of these in it, or none"


def make_source(spec: str, options: CaptureOptions) -> Optional[Source]:
    """Return the source that a spec names; None for "none".

    Raises:
        DeviceError: the spec names no source, or a file that does not exist.
    """
    if spec == "none":
        return None
    if spec.startswith("@"):
        return make_source(_line(Path(spec[1:])), options)
    if spec == "pattern":
        return files.TestPattern()
    picamera = re.fullmatch(r"picamera(?::(\d))?", spec)
    if picamera:
        return RaspberryPiCamera(int(picamera.group(1) or 0), options)
    if re.match(r"https?://", spec):
        return HttpCamera(spec, options.fps)
    if re.match(r"rtsps?://", spec):
        return opencv.FfmpegStream(spec)
    if re.fullmatch(r"\d+|/dev/.+", spec):
        return opencv.Camera(f"/dev/video{spec}" if spec.isdigit() else spec, options)
    return _file(Path(spec), options)


def _file(path: Path, options: CaptureOptions) -> Source:
    if path.is_dir():
        return files.ImageFolder(path)
    if path.is_file():
        return opencv.VideoFile(path, options.fps)
    raise DeviceError("is neither a camera nor a file", where=str(path), remedy=f"give {KINDS}")


def _line(path: Path) -> str:
    try:
        spec = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DeviceError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="put the source's spec in it"
        ) from None
    if not spec or spec.startswith("@"):
        raise DeviceError("names no source", where=str(path), remedy=f"put one of these in it: {KINDS}")
    return spec
