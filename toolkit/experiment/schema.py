"""The TOML schema of an experiment: data, training, conversion, deployment and measurement.

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
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from toolkit import compat
from toolkit.device.bench.spec import BenchSpec
from toolkit.device.errors import DeviceError
from toolkit.device.release.cohort import parse_window
from toolkit.errors import ConfigurationError
from toolkit.experiment import recipe
from toolkit.experiment.training_schema import (
    AugmentConfig,
    Config,
    Head,
    NetworkConfig,
    RejectConfig,
    Stage,
    StageConfig,
    StageOverride,
    TrainConfig,
    Trial,
    is_unset,
)
from toolkit.system.plugins import plugin_names

Precision = Literal["fp32", "fp16", "int8"]
SOURCES = (
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
)
Fraction = Annotated[float, Field(ge=0, le=1)]
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


class SplitFractions(Config):
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


def _check_source(name: str) -> str:
    if name in SOURCES or name in (plugins := plugin_names("data_formats")):
        return name
    raise ValueError(f"Input should be one of {', '.join((*SOURCES, *plugins))}")


class DataConfig(Config):
    """Where the images come from."""

    source: Annotated[str, AfterValidator(_check_source)]
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
    max_image_mb: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(default=None, exclude_if=is_unset)
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


class MatrixConfig(Config):
    """Every network is trained with every head."""

    networks: tuple[str, ...] = Field(default=("efficientnet_lite0",), min_length=1)
    heads: tuple[Head, ...] = ()
    """Empty: "softmax", or "multi-sigmoid" where an image may have several labels."""


class ConvertConfig(Config):
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


class DeployConfig(Config):
    """How a fleet is rolled out to; the options of `toolkit deploy` mean the same."""

    batch: str | None = Field(default=None, pattern=rf"^{_SIZE}(,{_SIZE})*$")
    """Sizes of batches, such as "1,25%,100%", which is the default; where `groups` are named, each of them at once."""
    groups: tuple[str, ...] = ()
    pause_s: float = Field(default=0, ge=0)
    max_failures: str = Field(default="0", pattern=rf"^(0|{_SIZE})$")
    auto_rollback: bool = True
    min_speed: float | None = Field(default=None, gt=0, le=1)
    """The part of the speed that was last measured on a device with which a release passes there; unset: not asked."""
    health_s: float = Field(default=10, ge=0)
    """How long the service must stay well after the switch; 0: not asked."""
    shadow_s: float = Field(default=0, ge=0)
    """Longest time of a comparison with the serving release on live frames, in `toolkit loop`; 0: none."""
    shadow_agreement: float | None = Field(default=None, gt=0, lt=1)
    """The share of frames on which both must agree; unset: 0.95, unless an accuracy is asked for."""
    shadow_accuracy: float | None = Field(default=None, gt=0, lt=1)
    """The share of labeled captures that the new release must answer right; unset: not judged."""
    soak_s: float = Field(default=0, ge=0)
    """How long the devices are watched after the rollout, in `toolkit loop`; 0: not watched."""
    min_deployed: str = Field(default="80%", pattern=rf"^{_SIZE}$")
    """In `toolkit publish`, how many devices of a batch must serve the release before the next batch."""
    windows: tuple[str, ...] = ()
    """In `toolkit publish`, when devices that pull may switch, in their local time, such as "mon-fri 22:00-05:00"; empty: always."""
    hooks: Path | None = None

    @field_validator("windows")
    @classmethod
    def _open_at_times(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        for window in windows:
            try:
                parse_window(window)
            except DeviceError as error:
                raise ValueError(f"{error.what}: {error.remedy}") from None
        return windows


class Experiment(Config):
    """A whole experiment file, validated; `origin` is where it was read from."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = ""
    published: str | None = None
    """The name of a table of published figures to set beside ours."""
    data: DataConfig
    matrix: MatrixConfig = MatrixConfig()
    stages: tuple[StageConfig, ...] = ()
    """Empty: the recipe's."""
    train: TrainConfig = TrainConfig()
    augment: AugmentConfig | Literal["none"] | None = None
    """Unset: the recipe's light augmentation."""
    reject: RejectConfig | None = None
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
        for head in self.heads:
            if why := head_refusal(head, multi_label=self.data.multi_label):
                raise ValueError(f'matrix.heads: "{head}" does not fit this data: {why}')
        return self

    @model_validator(mode="after")
    def _losses_fit(self) -> Self:
        for head in self.heads:
            loss = self.train.loss.get(head, "auto")
            if (head, loss) in NO_LOSS:
                raise ValueError(f'train.loss = "{loss}" does not fit the head "{head}": {NO_LOSS[head, loss]}')
            if loss == "sparse-categorical" and self.train.label_smoothing:
                raise ValueError(
                    "train.label_smoothing needs targets with a share per class; sparse-categorical takes the label "
                    'alone: use loss = "categorical"'
                )
        return self

    @model_validator(mode="after")
    def _mixup_fits(self) -> Self:
        if not isinstance(self.augment, AugmentConfig) or not self.augment.mixup:
            return self
        for head in self.heads:
            if head == "multi-sigmoid":
                raise ValueError("augment.mixup is for images with one label each")
            if self.train.loss.get(head, "auto") == "sparse-categorical":
                raise ValueError(
                    "augment.mixup needs targets with a share per class; sparse-categorical takes the label alone: "
                    'use loss = "categorical"'
                )
        return self

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads of the matrix."""
        return self.matrix.heads or (("multi-sigmoid",) if self.data.multi_label else ("softmax",))

    @property
    def without_file(self) -> bool:
        """Whether it was made for a folder or CSV list of images, without an experiment file."""
        return self.data.path == self.origin

    @property
    def stage_names(self) -> tuple[Stage, ...]:
        """The stages that trials of this experiment have; without pretrained weights the recipe leaves out "top"."""
        return tuple(stage.name for stage in self.stages) or recipe.STAGES

    def trials(self) -> Iterator[Trial]:
        """The matrix, network by network, with every override applied."""
        for network in self.matrix.networks:
            for head in self.heads:
                yield self.trial(network, head)

    def trial(self, network: str, head: Head) -> Trial:
        """One cell of the matrix."""
        own = self.networks.get(network, NetworkConfig())
        weights = own.body or own.weights or "imagenet"
        usual = (name for name in recipe.STAGES if name in {*recipe.default_stages(weights), *own.stages})
        stages = self.stages or tuple(StageConfig(name=name) for name in usual)
        return Trial(
            network=network,
            head=head,
            weights=weights,
            input_size=own.input_size,
            crop=self.data.crop,
            hidden=self.train.hidden,
            batch_size=own.batch_size or self.train.batch_size,
            seed=self.train.seed,
            stages=tuple(stage.overridden(own.stages.get(stage.name, StageOverride())) for stage in stages),
            scaling=own.scaling,
            loss=self.train.loss.get(head, "auto"),
            dropout=self.train.dropout,
            label_smoothing=self.train.label_smoothing,
            class_weights=self.train.class_weights,
            augment=self.augment,
            precision=self.train.precision,
            offer=self.train.offer,
            reject=self.reject,
        )

    def resolve_path(self, path: str | Path) -> Path:
        """A path written in the experiment file, seen from where that file lies."""
        return self.origin.parent / path
