"""The TOML a user writes: what to train on what, how to convert it, how to measure it.

Parse → validate (every error, each with its path) → complete (per-network overrides resolved). Example:

    name = "face-mask"
    [data]
    source = "folders"
    path = "data/face-mask"
    [matrix]
    networks = ["mobilenet", "inception_v3", "vgg16"]
    heads = ["sigmoid", "softmax"]
    [[stages]]
    name = "top"
    epochs = 5
    [[stages]]
    name = "fine-tune"
    epochs = 5
    learning_rate = 1e-5
    [networks.vgg16]
    weights = "weights/vgg16.h5"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from toolkit.errors import ConfigurationError, Problem

Precision = Literal["fp32", "fp16"]
Head = Literal["sigmoid", "softmax"]
Stage = Literal["top", "fine-tune"]
Optimizer = Literal["adam", "adamax", "sgd", "adamw"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitFractions(_Table):
    """How an unsplit data set is divided."""

    train: Fraction = 0.7
    validation: Fraction = 0.1
    test: Fraction = 0.2

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test is {total:g}, not 1")
        return self


class DataTable(_Table):
    """Where the pictures come from."""

    source: Literal["synthetic-masks", "folders"]
    path: Path | None = None
    """The folder of "folders": class folders, or train/, validation/ and test/ with class folders in each.
    Relative to the experiment file."""
    seed: int = 0
    crop: Literal["resize", "centre"] = "resize"
    split: SplitFractions = SplitFractions()
    group: str | None = None
    """Keep pictures together whose file name agrees in this regular expression's first group."""

    @model_validator(mode="after")
    def _path_given(self) -> Self:
        if self.source == "folders" and self.path is None:
            raise ValueError('source = "folders" needs path')
        return self


class MatrixTable(_Table):
    """Every network is trained with every head."""

    networks: tuple[str, ...] = Field(min_length=1)
    heads: tuple[Head, ...] = Field(default=("softmax",), min_length=1)


class StageTable(_Table):
    """One stage of training: "top" with the backbone frozen, or "fine-tune" of the whole network."""

    name: Stage
    epochs: int = Field(default=5, ge=1)
    optimizer: Optimizer = "adam"
    learning_rate: float = Field(default=0.001, gt=0)
    patience: int | None = Field(default=5, ge=1)
    """Stop after so many epochs without a better validation loss, and keep the best weights; none: never."""


class StageOverride(_Table):
    """What one network does differently in one stage; everything unset is the stage's own."""

    epochs: Annotated[int, Field(ge=1)] | None = None
    optimizer: Optimizer | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None


class TrainTable(_Table):
    """What all stages share."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (1024,)
    """Units of the dense ReLU layers between the pooled features and the output."""
    batch_size: int = Field(default=64, ge=1)
    seed: int = 0


class NetworkTable(_Table):
    """What differs for one network; everything unset is the network's or the experiment's own."""

    weights: str | None = None
    """"imagenet" (the default), "none", or a file, relative to the experiment file."""
    input_size: Annotated[int, Field(ge=32, le=1024)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    stages: dict[Stage, StageOverride] = Field(default_factory=dict)
    """Overrides per stage: networks.mobilenet.stages.top.epochs = 12."""


class ConvertTable(_Table):
    """Which IRs are made of each model."""

    precisions: tuple[Precision, ...] = Field(default=("fp32", "fp16"), min_length=1)
    targets: tuple[str, ...] = Field(default=("cpu",), min_length=1)
    tolerance: dict[Precision, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """The largest allowed difference of a probability; unset: 1e-4 for fp32, 1e-2 for fp16."""


class BenchTable(_Table):
    """How devices are measured. Below 60 s or 1,024 queries a run is labelled "quick"."""

    scenarios: tuple[Literal["single-stream", "offline"], ...] = ("single-stream", "offline")
    seconds: float = Field(default=60, gt=0)
    queries: int = Field(default=1024, ge=1)
    cool_down_s: float = Field(default=0, ge=0)
    seed: int = 0


class Experiment(_Table):
    """A whole experiment file, validated; `origin` is where it was read from."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = ""
    published: str | None = None
    """The name of a table of published figures to set beside ours."""
    data: DataTable
    matrix: MatrixTable
    stages: tuple[StageTable, ...] = Field(min_length=1)
    train: TrainTable = TrainTable()
    networks: dict[str, NetworkTable] = Field(default_factory=dict)
    convert: ConvertTable = ConvertTable()
    bench: BenchTable = BenchTable()
    origin: Path = Field(default=Path("experiment.toml"), exclude=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError("a stage is named twice")
        for name in self.networks:
            if name not in self.matrix.networks:
                raise ValueError(f"networks.{name} is set, but matrix.networks does not name it")
        return self

    def trials(self) -> Iterator[Trial]:
        """The matrix, network by network, with every override applied."""
        for network in self.matrix.networks:
            for head in self.matrix.heads:
                yield self.trial(network, head)

    def trial(self, network: str, head: Head) -> Trial:
        """One cell of the matrix."""
        own = self.networks.get(network, NetworkTable())
        stages = tuple(
            stage.model_copy(update=own.stages.get(stage.name, StageOverride()).model_dump(exclude_none=True))
            for stage in self.stages
        )
        return Trial(
            network=network,
            head=head,
            weights=own.weights or "imagenet",
            input_size=own.input_size,
            crop=self.data.crop,
            hidden=self.train.hidden,
            batch_size=own.batch_size or self.train.batch_size,
            seed=self.train.seed,
            stages=stages,
        )

    def beside(self, path: str | Path) -> Path:
        """A path written in the experiment file, seen from where that file lies."""
        return self.origin.parent / path


class Trial(_Table):
    """One network with one head, and all that decides its weights besides the data."""

    network: str
    head: Head
    weights: str
    input_size: int | None
    crop: str
    hidden: tuple[int, ...]
    batch_size: int
    seed: int
    stages: tuple[StageTable, ...]

    @property
    def name(self) -> str:
        """For people and folders."""
        return f"{self.network}-{self.head}"


def shipped(name: str) -> Path:
    """The experiment file of that name that comes with the toolkit.

    In a wheel the experiments lie inside the package; in a checkout, in models/ beside it.
    """
    inside, beside = Path(__file__).parent / "models", Path(__file__).parent.parent / "models"
    return (inside if inside.is_dir() else beside) / f"{name}.toml"


def load(path: Path) -> Experiment:
    """Read an experiment file.

    Raises:
        ConfigurationError: with every problem in the file, each with its path in it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            "no such experiment file", where=str(path), remedy="see models/ for those that come with the toolkit"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"not valid TOML: {error}", where=str(path)) from None
    try:
        return Experiment.model_validate(content | {"origin": path.resolve()})
    except ValidationError as error:
        raise ConfigurationError.from_problems([_explain(path, detail) for detail in error.errors()]) from None


def _explain(path: Path, detail: ErrorDetails) -> Problem:
    """One pydantic error in the house's form; `where` is file: table.key."""
    key = ".".join(str(part) for part in detail["loc"]) or "(whole file)"
    remedies = {
        "extra_forbidden": "remove it, or mend its spelling",
        "missing": "add it",
    }
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "too_short":
        message = "is empty; name at least one"
    return Problem(message, f"{path}: {key}", remedies.get(detail["type"], ""))
