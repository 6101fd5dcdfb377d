"""The part of an experiment file that determines a model's weights: stages, losses, augmentation, networks, and the trial.

A setting that is left out is chosen by `toolkit.experiment.recipe` from the size of the data and the initial weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from toolkit.experiment.compute_profiles import ComputePrecision
from toolkit.experiment.lr_schedules import Schedule

Head = Literal["sigmoid", "softmax", "multi-sigmoid"]
Stage = Literal["top", "fine-tune"]
Optimizer = Literal["adam", "adamax", "sgd", "adamw", "lbfgs"]
Loss = Literal["auto", "binary", "categorical", "sparse-categorical"]
BatchNorm = Literal["inference", "training"]
OwnScaling = Literal["none", "unit", "symmetric", "caffe", "torch"]
ClassWeights = Literal["auto", "none", "balanced"]
OfferedStages = Literal["improved", "all"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Config(BaseModel):
    """A table of an experiment file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def is_unset(value: object) -> bool:
    """Left out where a table is written down, so that its digest needs no change when a setting is added."""
    return value in (None, 0, "auto", "float32")


class StageOverride(Config):
    """The settings of a stage that one network overrides; unset ones are those of the stage."""

    epochs: Count | None = None
    optimizer: Optimizer | None = None
    """"lbfgs" solves the top stage as a regularized logistic regression; it needs no epochs and no learning rate."""
    learning_rate: Positive | None = None
    patience: Count | None = None
    """Stop after this many epochs without a better validation loss, and keep the best weights; unset: in fine-tuning of
    trained weights, all epochs, and the weights of the last."""
    schedule: Schedule | None = None
    """How the learning rate falls: "constant", "step", "exponential", "cosine", "plateau" or a table of one."""
    weight_decay: NotNegative | None = None
    """Decoupled weight decay of AdamW; biases and batch-norm parameters are exempt. 0: none."""
    clip_norm: NotNegative | None = None
    """Gradients are scaled down to this global norm. 0: they are not clipped."""
    average: Share | None = None
    """Decay of the exponential moving average of the weights that is validated and saved. 0: no average."""
    head_rate: Positive | None = None
    """In fine-tuning, the head learns at this multiple of `learning_rate`, which is the body's."""
    augmented_copies: Annotated[int, Field(ge=0, le=100)] | None = Field(default=None, exclude_if=is_unset)
    """In the top stage: how many versions of each training image, varied as `augment` says, the head learns from besides
    the image itself. Their features are computed once."""
    from_layer: str | None = Field(default=None, exclude_if=is_unset)
    """Fine-tune the body from this layer on; unset: all of it."""
    batch_norm: BatchNorm | None = None
    """Whether fine-tuning uses and moves a batch's own statistics; unset: only if the initial weights are random."""


class StageConfig(StageOverride):
    """One stage of training: "top" with the backbone frozen, or "fine-tune" of the whole network.

    Unset settings are chosen by the recipe.
    """

    name: Stage

    @model_validator(mode="after")
    def _of_this_stage(self) -> Self:
        _check_stage(self.name, self)
        return self

    def overridden(self, by: StageOverride) -> StageConfig:
        """This stage with all that `by` sets."""
        return self.model_copy(update={name: getattr(by, name) for name in by.model_fields_set})


def _check_stage(name: str, stage: StageConfig | StageOverride) -> None:
    for key in ("from_layer", "batch_norm", "head_rate"):
        if name == "top" and getattr(stage, key) is not None:
            raise ValueError(f"{key} applies to fine-tune only: the top stage does not train the body")
    if name == "fine-tune" and stage.augmented_copies is not None:
        raise ValueError("augmented_copies applies to top only: fine-tune varies its images in every epoch")
    if name == "fine-tune" and stage.optimizer == "lbfgs":
        raise ValueError("lbfgs belongs to the top stage: it solves the head alone")


class TrainConfig(Config):
    """What all stages share."""

    hidden: tuple[Count, ...] = ()
    """Units of the dense ReLU layers between the pooled features and the output."""
    batch_size: Count = 16
    seed: int = 0
    loss: dict[Head, Loss] = Field(default_factory=dict)
    """One for all heads, or a table by head. "auto": binary for sigmoids, categorical for a softmax. "binary" on a
    softmax takes each class's probability against its one-hot target and averages over the classes."""
    dropout: Share = 0
    """The share of units that are left out, at random, before the output layer."""
    label_smoothing: Share | None = None
    """How far targets are drawn towards all classes alike; validation and test losses are of the plain targets."""
    class_weights: ClassWeights | dict[str, Positive] = "auto"
    """How much a training image counts, by its label: a table (others count 1), or "balanced": in inverse proportion to
    how many there are of it. With many labels to an image: how much its having a label counts; "balanced" is as much as
    all those without it. "auto": balanced where the largest class is more than twice the smallest."""
    precision: ComputePrecision = "float32"
    """What fine-tuning computes the body in; the weights, the head, and the saved model are float32 in any case."""
    offer: OfferedStages = "improved"
    """"improved": a stage that ends below the one before it is recorded, but not converted or deployed. "all": every
    stage is."""

    @field_validator("loss", mode="before")
    @classmethod
    def _for_every_head(cls, value: object) -> object:
        return dict.fromkeys(get_args(Head), value) if isinstance(value, str) else value


class AugmentConfig(Config):
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
    # What is off is left out of a run's digest, so that earlier runs keep their names.
    resized_crop: Share = Field(default=0, exclude_if=is_unset)
    """Up to this share of the area is cut off, at an aspect ratio of 3/4 to 4/3, and the rest stretched to the whole."""
    saturation: Share = Field(default=0, exclude_if=is_unset)
    """Each pixel's distance from its gray becomes 1 - saturation to 1 + saturation times its own."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(default=0, exclude_if=is_unset)
    """The color circle is turned by up to this share of it, either way."""
    rand_augment: Annotated[int, Field(ge=0, le=10)] = Field(default=0, exclude_if=is_unset)
    """The magnitude of RandAugment, two operations for each image."""
    mixup: NotNegative = Field(default=0, exclude_if=is_unset)
    """Each batch and its targets are mixed with the same in another order, at a share from Beta(mixup, mixup)."""
    stages: tuple[Stage, ...] = ("top", "fine-tune")
    """In which stages. The top stage trains on cached features only where it sees the images themselves."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(self.model_dump(exclude={"stages"}).values()):
            raise ValueError('no variation is on; set flip, rotate, zoom, crop, brightness, contrast, …, or use "none"')
        return self


class RejectConfig(Config):
    """When a model answers "unknown" instead of its best guess."""

    error: Annotated[float, Field(gt=0, lt=1)]
    """The share of wrong answers among those given that is accepted; the threshold is fitted on validation images."""
    strangers: Literal["leave-one-out"] | Path | None = Field(default=None, exclude_if=is_unset)
    """Images of no class that the model knows: the report says how many of them are answered all the same. They decide
    nothing. A folder, relative to the experiment file; or "leave-one-out": each class in turn, left out of a head on the
    frozen features."""

    @property
    def strangers_folder(self) -> Path | None:
        """The folder, if one is named."""
        return self.strangers if isinstance(self.strangers, Path) else None


class NetworkConfig(Config):
    """What differs for one network; everything unset is the network's or the experiment's own."""

    weights: str | None = None
    """"imagenet" (the default), "none", or a file, relative to the experiment file."""
    input_size: Annotated[int, Field(ge=32, le=1024)] | None = None
    batch_size: Count | None = None
    body: str | None = None
    """A .keras file of your own, relative to the experiment file: scaled images to a feature map."""
    scaling: OwnScaling | None = None
    """What that body wants done to pixels in 0…255 before it sees them; unset: nothing."""
    stages: dict[Stage, StageOverride] = Field(default_factory=dict)
    """Overrides per stage: networks.mobilenet.stages.top.epochs = 12."""

    @model_validator(mode="after")
    def _of_their_stages(self) -> Self:
        for name, stage in self.stages.items():
            _check_stage(name, stage)
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


class Trial(Config):
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
    label_smoothing: float | None
    class_weights: ClassWeights | dict[str, float]
    augment: AugmentConfig | Literal["none"] | None
    """None: the recipe's."""
    offer: OfferedStages = "improved"
    # What is left out of a run's digest where it is unset, so that earlier runs keep their names.
    reject: RejectConfig | None = Field(default=None, exclude_if=is_unset)
    scaling: OwnScaling | None = Field(default=None, exclude_if=is_unset)
    loss: Loss = Field(default="auto", exclude_if=is_unset)
    dropout: float = Field(default=0, exclude_if=is_unset)
    precision: ComputePrecision = Field(default="float32", exclude_if=is_unset)

    @property
    def name(self) -> str:
        """For people and folders."""
        return f"{self.network}-{self.head}"

    def augmentation(self, stage: Stage) -> AugmentConfig | None:
        """How training images are varied in a stage; None: not at all."""
        table = self.augment
        return table if isinstance(table, AugmentConfig) and stage in table.stages else None
