"""Converted models, their parity with the original, and bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far a converted model is from the one it came from, on the test images, both computed in float32."""

    images: int
    max_abs: float
    mean_abs: float
    top1_agreement: float
    """The share of images with the same likeliest class; of many labels, of the same decisions, one per label."""
    accuracy: float
    reference_accuracy: float
    tolerance: float
    passed: bool
    max_drop: float | None = None
    """INT8 is bounded by this loss of accuracy, a fraction of all images; None: by 99 % of the reference's."""
    micro_f1: float | None = None
    """Where images have many labels; their accuracy is that of whole images (exact match)."""
    reference_micro_f1: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """How far one layer's output in a converted form is from the float32 graph's, on one image."""

    name: str
    kind: str
    error: float
    """The largest difference over the largest magnitude of the output."""
    added_error: float
    """What the error is beyond the largest one among the layers that it reads; not less than 0."""
    largest: float
    """The largest magnitude of the output in the float32 graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerErrorReport:
    """Where along the network an IR departs from the float32 graph, on the image where its answer is furthest off."""

    digest: str
    parent: str
    """The IR."""
    bundle: str
    image: str
    """The file."""
    difference: float
    """The largest difference of a probability on that image."""
    threshold: float
    first: LayerError | None
    """The first layer whose error is beyond the threshold."""
    largest_increases: tuple[LayerError, ...]
    """The layers at which it grows most, the most first."""
    layers: tuple[LayerError, ...]
    """All that both have, in the network's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How a model came to INT8: what its ranges were taken from, and what stayed in float for the accuracy's sake."""

    calibration_images: int
    """Training images that the ranges of activations were taken from."""
    judged_on: str
    """The subset whose images decided which layers stay in float; never "test"."""
    images: int
    """How many those were."""
    accuracy: float
    reference_accuracy: float
    """Before quantizing, on the same images."""
    layers: int
    """Layers in INT8."""
    reverted: tuple[str, ...] = ()
    """Layers that INT8 would have taken and that stayed in float, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IrModel:
    """An OpenVINO IR: u8 NHWC RGB image in, probabilities out, preprocessing inside."""

    digest: str
    parent: str
    """The trained model."""
    precision: str
    """How the weights are stored: "fp32", "fp16" or "int8"."""
    target: str
    """Which runtime it is for; a name in compat.toml."""
    path: str
    """The .xml; the .bin lies beside it."""
    size_bytes: int
    parity: Parity
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)
    """What made it: the toolkit's and OpenVINO's versions."""
    quantization: Quantization | None = None
    """For INT8."""
    forced: str = ""
    """The reason for which it was kept although layers leave FP16's range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder that holds all a device needs to answer and to prove its answers; `digest` is its manifest's SHA-256."""

    digest: str
    parent: str
    """The IR."""
    name: str
    """For people: network-head-stage-precision."""
    precision: str
    target: str
    path: str
    size_bytes: int

    @property
    def short(self) -> str:
        """The digest's first twelve digits: enough for people and for file names."""
        return self.digest[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCheck:
    """What one check of a bundle found without a device: an older runtime's agreement, an accelerator's compiler."""

    digest: str
    """Of bundle and check: a later outcome takes the place of an earlier one."""
    parent: str
    """The bundle."""
    name: str
    outcome: str
    """One of "passed", "failed", "skipped"."""
    message: str
    """For people, in one line."""
    details: Mapping[str, object]
    at: str
