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

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from toolkit import compat
from toolkit.device.bench.spec import BenchSpec
from toolkit.errors import ConfigurationError
from toolkit.experiment.compute_profiles import ComputePrecision
from toolkit.experiment.lr_schedules import Schedule

Precision = Literal["fp32", "fp16", "int8"]
Head = Literal["sigmoid", "softmax", "multi-sigmoid"]
Stage = Literal["top", "fine-tune"]
Optimizer = Literal["adam", "adamax", "sgd", "adamw"]
Loss = Literal["auto", "binary", "categorical", "sparse-categorical"]
BatchNorm = Literal["inference", "training"]
OwnScaling = Literal["none", "unit", "symmetric", "caffe", "torch"]
Source = Literal[
    "synthetic-masks",
    "folders",
    "csv",
    "cifar10",
    "cifar100",
    "idx",
    "flowers102",
    "caltech",
    "imagenet",
    "voc",
    "faces",
]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
_SIZE = r"([1-9]\d*|(100|[1-9]\d?)%)"
"""A number of devices, or a percentage of them."""

NO_LOSS = {
    (
        "sigmoid",
        "categorical",
    ): "one sigmoid unit gives one probability, and cross-entropy over one category is always 0",
    ("sigmoid", "sparse-categorical"): "one sigmoid unit gives one probability, and there is no second one to index",
    ("multi-sigmoid", "categorical"): "each label has a probability of its own, and they do not add up to 1",
    ("multi-sigmoid", "sparse-categorical"): "an image may have several labels, and there is not the one to index",
}
"""Pairs of head and loss that cannot learn, with the reason."""


def head_refusal(head: str, *, multi_label: bool) -> str:
    """Why a head cannot tell what images have: one label each, or many; nothing if it can."""
    if multi_label and head != "multi-sigmoid":
        why = "a softmax shares one out among them" if head == "softmax" else "one sigmoid unit tells two classes apart"
        return f'an image may have several labels, and {why}; use "multi-sigmoid"'
    if not multi_label and head == "multi-sigmoid":
        return 'each image has one label, and it may name several or none; use "softmax", or "sigmoid" for two classes'
    return ""


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_unset(value: object) -> bool:
    """Left out where a table is written down, so that what it says needs no change when a setting is added."""
    return value in (None, 0, "auto", "float32")


class SplitFractions(_Config):
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


class DataConfig(_Config):
    """Where the images come from."""

    source: Source
    path: Path | None = None
    """Where it lies, relative to the experiment file: for "folders" class folders, or train/, validation/ and test/ with
    class folders in each; for "csv" the file; for "cifar10", "cifar100", "caltech" and "voc" the archive or its folder;
    for "idx", "flowers102" and "imagenet" the folder that holds the files; none for what the toolkit makes or fetches."""
    seed: int = 0
    crop: Literal["resize", "center"] = "resize"
    split: SplitFractions = SplitFractions()
    group: str | None = None
    """Keep images together whose file name agrees in this regular expression's first group."""
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The fraction of the training images that becomes validation where the data comes with train and test only."""
    leaks: Literal["refuse", "drop"] = "refuse"
    """Images with the same bytes in two given parts or two classes: an error, or left out of the training side."""
    labels: Literal["fine", "coarse"] = "fine"
    """Which labels of "cifar100"."""
    classes: tuple[str, ...] = ()
    """The names of the classes of "idx", in the order of their numbers; unset: the numbers."""
    class_names: Path | None = None
    """A file that names the classes of "imagenet" or "flowers102", one a line; relative to the experiment file."""
    clutter: bool = False
    """Whether the background images of "caltech" are a class."""
    year: Annotated[int, Field(ge=2005, le=2012)] | None = None
    """Which year of "voc", where several lie side by side."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """What stands between the labels of "csv" where an image may have several, such as ";"; unset: each has one."""
    max_image_mb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(default=None, exclude_if=_is_unset)
    """The memory of the largest decoded image, in MB; unset: $TOOLKIT_MAX_IMAGE_MB, or 400."""

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several labels, or none."""
        return self.source == "voc" or self.separator is not None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.source not in {"synthetic-masks", "faces"} and self.path is None:
            raise ValueError(f'source = "{self.source}" needs path')
        own = {
            "labels": ("cifar100",),
            "classes": ("idx",),
            "class_names": ("imagenet", "flowers102"),
            "clutter": ("caltech",),
            "year": ("voc",),
            "separator": ("csv",),
        }
        for key, sources in own.items():
            if key in self.model_fields_set and self.source not in sources:
                raise ValueError(f'{key} is for source = "{" or ".join(sources)}", not "{self.source}"')
        return self


class MatrixConfig(_Config):
    """Every network is trained with every head."""

    networks: tuple[str, ...] = Field(min_length=1)
    heads: tuple[Head, ...] = Field(default=("softmax",), min_length=1)


class StageOverride(_Config):
    """What one network does differently in one stage; everything unset is the stage's own."""

    epochs: Annotated[int, Field(ge=1)] | None = None
    optimizer: Optimizer | None = None
    learning_rate: Positive | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    schedule: Schedule | None = None
    from_layer: str | None = None
    batch_norm: BatchNorm | None = None


class StageConfig(_Config):
    """One stage of training: "top" with the backbone frozen, or "fine-tune" of the whole network."""

    name: Stage
    epochs: int = Field(default=5, ge=1)
    optimizer: Optimizer = "adam"
    learning_rate: Positive = 0.001
    patience: int | None = Field(default=5, ge=1)
    """Stop after so many epochs without a better validation loss, and keep the best weights; none: never."""
    schedule: Schedule | None = Field(default=None, exclude_if=_is_unset)
    """How the learning rate falls: "step", "exponential", "cosine", "plateau" or a table of one; unset: constant."""
    from_layer: str | None = Field(default=None, exclude_if=_is_unset)
    """Fine-tune the body from this layer on; unset: all of it."""
    batch_norm: BatchNorm | None = Field(default=None, exclude_if=_is_unset)
    """Whether fine-tuning uses and moves a batch's own statistics; unset: only if the first weights are random."""

    @model_validator(mode="after")
    def _of_this_stage(self) -> Self:
        if self.name == "top":
            _refuse_on_top(self)
        return self

    def overridden(self, by: StageOverride) -> StageConfig:
        """This stage with all that `by` sets."""
        return self.model_copy(update={name: getattr(by, name) for name in by.model_fields_set})


def _refuse_on_top(stage: StageConfig | StageOverride) -> None:
    for key in ("from_layer", "batch_norm"):
        if getattr(stage, key) is not None:
            raise ValueError(f"{key} belongs to fine-tune: the top stage leaves the whole body as it is")


class TrainConfig(_Config):
    """What all stages share."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (1024,)
    """Units of the dense ReLU layers between the pooled features and the output."""
    batch_size: int = Field(default=64, ge=1)
    seed: int = 0
    loss: dict[Head, Loss] = Field(default_factory=dict)
    """One for all heads, or a table by head. "auto": binary for sigmoids, categorical for a softmax. "binary" on a
    softmax takes each class's probability against its one-hot target and averages over the classes."""
    dropout: Share = 0
    """The share of units that are left out, at random, before the output layer."""
    label_smoothing: Share = 0
    """How far targets are drawn towards all classes alike; validation and test losses are of the plain targets."""
    class_weights: Literal["balanced"] | dict[str, Positive] | None = None
    """How much a training image counts, by its label: a table (others count 1), or in inverse proportion to how many
    there are of it. With many labels to an image: how much its having a label counts; "balanced" is as much as all
    those without it."""
    precision: ComputePrecision = "float32"
    """What fine-tuning computes the body in; weights, the head, and what is judged and kept are float32 in any case."""

    @field_validator("loss", mode="before")
    @classmethod
    def _for_every_head(cls, given: object) -> object:
        return dict.fromkeys(get_args(Head), given) if isinstance(given, str) else given


class AugmentConfig(_Config):
    """How training images are varied, anew in each epoch; validation and test images never are."""

    flip: bool = False
    """Left and right swapped for every other image."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0
    """Degrees either way."""
    zoom: Share = 0
    """The size becomes 1 - zoom to 1 + zoom times its own."""
    crop: Share = 0
    """Up to this share of each side is cut off, anywhere, and the rest stretched to the whole."""
    brightness: Share = 0
    """Up to this share of white is added or taken away."""
    contrast: Share = 0
    """Each pixel's distance from the mean becomes 1 - contrast to 1 + contrast times its own."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("nothing in it is on; set flip, rotate, zoom, crop, brightness or contrast, or remove it")
        return self


class NetworkConfig(_Config):
    """What differs for one network; everything unset is the network's or the experiment's own."""

    weights: str | None = None
    """"imagenet" (the default), "none", or a file, relative to the experiment file."""
    input_size: Annotated[int, Field(ge=32, le=1024)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    body: str | None = None
    """A .keras file of your own, relative to the experiment file: scaled images to a feature map."""
    scaling: OwnScaling | None = None
    """What that body wants done to pixels in 0…255 before it sees them; unset: nothing."""
    stages: dict[Stage, StageOverride] = Field(default_factory=dict)
    """Overrides per stage: networks.mobilenet.stages.top.epochs = 12."""

    @model_validator(mode="after")
    def _of_the_top_stage(self) -> Self:
        if "top" in self.stages:
            _refuse_on_top(self.stages["top"])
        return self

    @model_validator(mode="after")
    def _own_body(self) -> Self:
        if self.body is None and self.scaling is not None:
            raise ValueError("scaling belongs to a body of your own; the toolkit's networks have theirs")
        if self.body is not None and self.input_size is None:
            raise ValueError("body needs input_size")
        if self.body is not None and self.weights is not None:
            raise ValueError("body and weights are both set; the body's file holds its weights")
        return self


class ConvertConfig(_Config):
    """Which IRs are made of each model."""

    precisions: tuple[Precision, ...] = Field(default=("fp32", "fp16"), min_length=1)
    targets: tuple[str, ...] = Field(default=("cpu",), min_length=1)
    tolerance: dict[Precision, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """The largest allowed difference of a probability; unset: 1e-4 for fp32, 1e-2 for fp16, any for int8."""
    max_drop: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """The accuracy that int8 may lose, as a fraction of all images: 0.01 is one point. Layers stay in float for it."""

    @model_validator(mode="after")
    def _taken(self) -> Self:
        for name in self.targets:
            for precision in self.precisions:
                _check_form(name, precision)
        return self


def _check_form(target: str, precision: str) -> None:
    try:
        compat.check_precision(compat.find_target(target), precision)
    except ConfigurationError as error:
        raise ValueError(str(error.problems[0])) from None


class DeployConfig(_Config):
    """How a fleet is rolled out to; the options of `toolkit deploy` mean the same."""

    batch: str | None = Field(default=None, pattern=rf"^{_SIZE}(,{_SIZE})*$")
    """Sizes of batches, such as "1,25%,100%", which is the default; where `groups` are named, each of them at once."""
    groups: tuple[str, ...] = ()
    pause_s: float = Field(default=0, ge=0)
    max_failures: str = Field(default="0", pattern=rf"^(0|{_SIZE})$")
    undo: bool = True
    min_speed: float | None = Field(default=None, gt=0, le=1)
    """The part of the speed that was last measured on a device with which a release passes there; unset: not asked."""
    healthy_s: float = Field(default=10, ge=0)
    """How long the service must stay well after the switch; 0: not asked."""
    hooks: Path | None = None


class Experiment(_Config):
    """A whole experiment file, validated; `origin` is where it was read from."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = ""
    published: str | None = None
    """The name of a table of published figures to set beside ours."""
    data: DataConfig
    matrix: MatrixConfig
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    train: TrainConfig = TrainConfig()
    augment: AugmentConfig | None = None
    networks: dict[str, NetworkConfig] = Field(default_factory=dict)
    convert: ConvertConfig = ConvertConfig()
    deploy: DeployConfig = DeployConfig()
    bench: BenchSpec = BenchSpec()
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

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        for head in self.matrix.heads:
            if why := head_refusal(head, multi_label=self.data.multi_label):
                raise ValueError(f'matrix.heads: "{head}" does not fit this data: {why}')
        return self

    @model_validator(mode="after")
    def _losses_fit(self) -> Self:
        for head in self.matrix.heads:
            loss = self.train.loss.get(head, "auto")
            if (head, loss) in NO_LOSS:
                raise ValueError(f'train.loss = "{loss}" does not fit the head "{head}": {NO_LOSS[head, loss]}')
            if loss == "sparse-categorical" and self.train.label_smoothing:
                raise ValueError(
                    "train.label_smoothing needs targets with a share per class; sparse-categorical takes the label "
                    'alone: use loss = "categorical"'
                )
        return self

    def trials(self) -> Iterator[Trial]:
        """The matrix, network by network, with every override applied."""
        for network in self.matrix.networks:
            for head in self.matrix.heads:
                yield self.trial(network, head)

    def trial(self, network: str, head: Head) -> Trial:
        """One cell of the matrix."""
        own = self.networks.get(network, NetworkConfig())
        stages = tuple(stage.overridden(own.stages.get(stage.name, StageOverride())) for stage in self.stages)
        return Trial(
            network=network,
            head=head,
            weights=own.body or own.weights or "imagenet",
            input_size=own.input_size,
            crop=self.data.crop,
            hidden=self.train.hidden,
            batch_size=own.batch_size or self.train.batch_size,
            seed=self.train.seed,
            stages=stages,
            scaling=own.scaling,
            loss=self.train.loss.get(head, "auto"),
            dropout=self.train.dropout,
            label_smoothing=self.train.label_smoothing,
            class_weights=self.train.class_weights,
            augment=self.augment,
            precision=self.train.precision,
        )

    def beside(self, path: str | Path) -> Path:
        """A path written in the experiment file, seen from where that file lies."""
        return self.origin.parent / path


class Trial(_Config):
    """One network with one head, and all that decides its weights besides the data."""

    network: str
    head: Head
    weights: str
    input_size: int | None
    crop: str
    hidden: tuple[int, ...]
    batch_size: int
    seed: int
    stages: tuple[StageConfig, ...]
    # What is left out of a run's digest where it is unset, so that earlier runs keep their names.
    scaling: OwnScaling | None = Field(default=None, exclude_if=_is_unset)
    loss: Loss = Field(default="auto", exclude_if=_is_unset)
    dropout: float = Field(default=0, exclude_if=_is_unset)
    label_smoothing: float = Field(default=0, exclude_if=_is_unset)
    class_weights: Literal["balanced"] | dict[str, float] | None = Field(default=None, exclude_if=_is_unset)
    augment: AugmentConfig | None = Field(default=None, exclude_if=_is_unset)
    precision: ComputePrecision = Field(default="float32", exclude_if=_is_unset)

    @property
    def name(self) -> str:
        """For people and folders."""
        return f"{self.network}-{self.head}"
