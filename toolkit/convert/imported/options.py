"""The user's options of an import, and the scaling of pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.convert.imported.file_facts import PixelScaling, Three
from toolkit.convert.imported.formats.model_file import IntegerScale
from toolkit.convert.imported.io_adapters import RANGES
from toolkit.errors import UsageError

SCALINGS = {
    "none": PixelScaling(),
    "unit": PixelScaling(std=(255.0, 255.0, 255.0)),
    "symmetric": PixelScaling((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "caffe": PixelScaling((103.939, 116.779, 123.68), color="BGR"),
    "torch": PixelScaling((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""As Keras' preprocess_input and torchvision have them."""
_CALIBRATED = 0.1
"""Share of its range by which a quantized input may miss black and white: the images that it was calibrated on had neither."""
_REMEDY = f"--scaling with one of {', '.join(SCALINGS)}, or MEAN/STD such as 127/128 or 124,116,104/58,57,57"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """The options; None is what the file or the images must show."""

    labels: Path | None = None
    images: Path | None = None
    scaling: str | None = None
    layout: str | None = None
    color: str | None = None
    output: str | None = None
    size: tuple[int, int] | None = None
    crop: str | None = None
    signature: str = ""
    force: str = ""
    """The user's reason to import a model that is no better than guessing."""


def choose_scaling(
    option: str | None, dtype: str, integers: IntegerScale | None, known: PixelScaling | None, *, labeled: bool
) -> PixelScaling:
    """How pixels become a model's input, by the option, or else by what the file says.

    `integers` is the file's own scale of a quantized input. Without one, integers are pixels, less 128 where they are signed.
    With `labeled` images, a wrong guess would show in the accuracy; the range of the integers then need not fit exactly.

    Raises:
        UsageError: neither says it (a wrong guess would answer, and wrongly), or the option does not fit.
    """
    if dtype in RANGES and integers is None:
        if option not in {None, "none"}:
            remedy = "leave --scaling out: it takes pixels as they are" + (", less 128" if dtype == "i8" else "")
            raise UsageError(f"its input is {dtype} without a scale of its own", remedy=remedy)
        return PixelScaling((128.0, 128.0, 128.0)) if dtype == "i8" else PixelScaling()
    if option is not None:
        return SCALINGS.get(option) or _numbers(option)
    if known is not None:
        return known
    if integers is None:
        raise UsageError("does not declare the scaling of its pixels", remedy=_REMEDY)
    return _scaling_of_range(dtype, integers, labeled=labeled)


def _scaling_of_range(dtype: str, integers: IntegerScale, *, labeled: bool) -> PixelScaling:
    """The only usual scaling whose values from black to white are those that the integers stand for."""
    low, high = ((bound - integers.zero_point) * integers.scale for bound in RANGES[dtype])
    slack = max(1.5 * integers.scale, _CALIBRATED * (high - low) if labeled else 0.0)
    fitting = [
        scaling
        for scaling in SCALINGS.values()
        if abs(low - min(_ends(scaling, 0.0))) <= slack and abs(high - max(_ends(scaling, 255.0))) <= slack
    ]
    if len(fitting) == 1:
        return fitting[0]
    raise UsageError(
        f"takes integers that represent numbers from {low:.4g} to {high:.4g}, and does not say how to scale pixels to them",
        remedy=_REMEDY,
    )


def _ends(scaling: PixelScaling, pixel: float) -> list[float]:
    """What a pixel becomes in each channel."""
    return [(pixel - mean) / std for mean, std in zip(scaling.mean, scaling.std, strict=True)]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Height and width out of "224" or "224x192".

    Raises:
        UsageError: the text is not a size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if not match:
        raise UsageError(f"{text!r} is not a size", remedy="--input-size 224, or HEIGHTxWIDTH such as 224x192")
    return int(match[1]), int(match[2] or match[1])


def _numbers(text: str) -> PixelScaling:
    mean, slash, std = text.partition("/")
    try:
        scaling = PixelScaling(_three(mean), _three(std))
    except ValueError:
        raise UsageError(f"{text!r} is not a scaling", remedy=_REMEDY) from None
    if not slash or 0 in scaling.std:
        raise UsageError(f"{text!r} is not a scaling", remedy=_REMEDY)
    return scaling


def _three(text: str) -> Three:
    numbers = [float(word) for word in text.split(",")]
    if len(numbers) == 1:
        numbers *= 3
    red, green, blue = numbers
    return red, green, blue
