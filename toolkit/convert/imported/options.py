"""What a user says about a model that was not trained here, and how the words are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import UsageError

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Scaling:
    """(pixel in 0…255 - mean) / std, in the order of the model's own channels."""

    mean: Three = (0.0, 0.0, 0.0)
    std: Three = (1.0, 1.0, 1.0)
    color: str = "RGB"


SCALINGS = {
    "none": Scaling(),
    "unit": Scaling(std=(255.0, 255.0, 255.0)),
    "symmetric": Scaling((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "caffe": Scaling((103.939, 116.779, 123.68), color="BGR"),
    "torch": Scaling((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""As Keras' preprocess_input and torchvision have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """The words; None is what the file itself, or its images, must tell."""

    labels: Path | None = None
    images: Path | None = None
    scaling: str | None = None
    layout: str | None = None
    color: str | None = None
    output: str | None = None
    size: tuple[int, int] | None = None
    crop: str = "resize"

    def scaling_of(self, kind: str) -> Scaling:
        """What is done to pixels for an input of that type.

        Raises:
            UsageError: a float input whose scaling is not said (a wrong guess would answer, and answer wrongly), words
                that are no scaling, or one for an integer input, which has its own.
        """
        if kind in {"u8", "i8"}:
            if self.scaling not in {None, "none"}:
                remedy = "leave --scaling out: it takes pixels as they are" + (", less 128" if kind == "i8" else "")
                raise UsageError(f"its input is {kind}, whose scaling is inside", remedy=remedy)
            return Scaling((128.0, 128.0, 128.0)) if kind == "i8" else Scaling()
        remedy = f"--scaling with one of {', '.join(SCALINGS)}, or MEAN/STD such as 127/128 or 124,116,104/58,57,57"
        if self.scaling is None:
            raise UsageError("how were its pixels scaled? The file does not say", remedy=remedy)
        if self.scaling in SCALINGS:
            return SCALINGS[self.scaling]
        return _numbers(self.scaling, remedy)


def parse_size(words: str | None) -> tuple[int, int] | None:
    """Height and width out of "224" or "224x192".

    Raises:
        UsageError: they are not there.
    """
    if words is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", words)
    if not found:
        raise UsageError(f"{words!r} is no size", remedy="--input-size 224, or HEIGHTxWIDTH such as 224x192")
    return int(found[1]), int(found[2] or found[1])


def _numbers(words: str, remedy: str) -> Scaling:
    mean, slash, std = words.partition("/")
    try:
        read = Scaling(_three(mean), _three(std))
    except ValueError:
        raise UsageError(f"{words!r} is no scaling", remedy=remedy) from None
    if not slash or 0 in read.std:
        raise UsageError(f"{words!r} is no scaling", remedy=remedy)
    return read


def _three(words: str) -> Three:
    numbers = [float(word) for word in words.split(",")]
    if len(numbers) == 1:
        numbers *= 3
    red, green, blue = numbers
    return red, green, blue
