"""Interface of a model file: its graph for OpenVINO, its own runtime for the reference answers, and the facts it declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from toolkit import hashing
from toolkit.convert.imported.file_facts import FileFacts
from toolkit.errors import DataError

if TYPE_CHECKING:
    import openvino as ov

Numbers = npt.NDArray[Any]
Runtime = Callable[[Numbers], Numbers]
"""Answers one image in the model's own layout, type and scaling: [1,…] to [1,…]."""


@dataclass(frozen=True, slots=True)
class IntegerScale:
    """How integers stand for numbers: (integer - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class ModelFile(ABC):
    """A file or folder of a format, read lazily."""

    path: Path
    size: tuple[int, int] | None = None
    """Height and width for an input of any size."""
    signature: str = ""
    """Of a SavedModel; empty: the default one."""

    format: ClassVar[str]
    runtime_name: ClassVar[str]
    """Who gives the reference answers, as messages call it."""
    usual_layout: ClassVar[str] = "NHWC"
    """The order of the input's axes where nothing in the file shows it."""

    @abstractmethod
    def graph(self) -> ov.Model:
        """The graph in the file, with its input and output as they are.

        Raises:
            DataError: the file is damaged, or holds code or operations that are not run.
            ConversionError: with every operation that OpenVINO cannot convert.
        """

    @abstractmethod
    def runtime(self) -> Runtime:
        """The format's own runtime, with the file loaded."""

    def facts(self) -> FileFacts:
        """What the file says about labels and preprocessing."""
        return FileFacts()

    def side_files(self) -> tuple[str, ...]:
        """Further files that belong to the model, relative to its folder."""
        return ()

    def input_scale(self) -> IntegerScale | None:
        """How the integers of a quantized input stand for numbers; None for a float input, or where nothing is said."""
        return None

    def output_scale(self) -> IntegerScale | None:
        """The same for a quantized output."""
        return None

    def digests(self) -> dict[str, str]:
        """The SHA-256 of every file of the model, by its path relative to the model's folder."""
        if self.path.is_dir():
            return {each.relative_to(self.path).as_posix(): hashing.sha256_file(each) for each in _files(self.path)}
        names = (self.path.name, *self.side_files())
        return {name: hashing.sha256_file(self.path.parent / name) for name in names}

    def digest(self) -> str:
        """The SHA-256 of a single file; of several files, that of their names and digests."""
        digests = self.digests()
        return (
            next(iter(digests.values())) if len(digests) == 1 and self.path.is_file() else hashing.sha256_json(digests)
        )


def one_at_a_time(run: Runtime, batch: object) -> Runtime:
    """A runtime of a fixed batch as one of a single image: the image is repeated, and the first answer taken."""
    if not isinstance(batch, int) or batch <= 1:
        return run
    return lambda image: run(np.repeat(image, batch, axis=0))[:1]


def damaged(path: Path, why: str) -> DataError:
    """The error for a file that is not a whole file of its format."""
    lines = [line.strip() for line in why.strip().splitlines() if line.strip()] or ["no reason given"]
    return DataError(
        f"cannot be read: {lines[-1][:300]}", where=str(path), remedy="export it again, or copy the complete file again"
    )


def _files(folder: Path) -> Sequence[Path]:
    result = sorted(folder.rglob("*"))
    for each in result:
        if each.is_symlink():
            raise DataError(
                "is a link, which may lead out of the model's folder", where=str(each), remedy="copy the file there"
            )
    return [each for each in result if each.is_file()]
