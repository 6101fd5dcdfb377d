"""The signals of each image: brightness, contrast and sharpness of the network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict

import cv2

from .drift_settings import BRIGHTNESS, CONTRAST, SHARPNESS

if TYPE_CHECKING:
    from ..pipeline.messages import Pixels


def image_signals(image: Pixels) -> Dict[str, float]:
    """Return the signals of u8 [height, width, 3], in levels of 0…255; about 20 µs for 224 by 224 pixels.

    All are taken from the green channel of every second row. Sharpness is the mean difference of neighboring pixels.
    """
    green = cv2.extractChannel(image[::2], 1)
    mean, deviation = cv2.meanStdDev(green)
    steps = cv2.absdiff(green[:, 1:], green[:, :-1])
    return {BRIGHTNESS: float(mean[0][0]), CONTRAST: float(deviation[0][0]), SHARPNESS: float(cv2.mean(steps)[0])}
