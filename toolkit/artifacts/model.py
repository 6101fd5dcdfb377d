"""Trained and imported models, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training images. Losses are means in nats; accuracies are fractions."""

    stage: str
    number: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """Precision, recall and F1 of one class, as fractions, over `support` images."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    roc_auc: float | None = None
    """How often an image of it gets a higher probability of it than one of another class; None without both."""
    average_precision: float | None = None
    """The area under its precision-recall curve, by steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """One bin of a calibration curve: the images whose top probability falls into it, and their means."""

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether predictions with 90 % confidence are right nine times in ten; `ece` is the expected calibration error."""

    ece: float
    bins: tuple[CalibrationBin, ...]
    """From the lowest probability to the highest; empty ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Averages:
    """Precision, recall and F1 over all labels."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MultilabelMetrics:
    """How well a model with many labels to an image tells each of them; a label is said above a probability of 1/2.

    Decisions are pairs of an image and a label that it is judged for.
    """

    hamming_loss: float
    """The share of decisions that are wrong."""
    micro: Averages
    """Over all decisions."""
    macro: Averages
    """Means over the labels."""
    mean_average_precision: float | None
    """The mean of `average_precision` over the labels that have any; None where none has."""
    mean_eleven_point: float | None
    average_precision: tuple[float | None, ...]
    """Per label as PASCAL VOC has it from 2010 on: the area under the curve whose precision never rises with recall."""
    eleven_point: tuple[float | None, ...]
    """Per label as VOC2007 had it: the mean of that precision at the recalls 0, 0.1 … 1."""
    confusions: tuple[tuple[tuple[int, int], tuple[int, int]], ...]
    """Per label ((absent and not said, absent and said), (present and not said, present and said))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model judged on the images of one part; `interval` is the 95 % Wilson interval of the accuracy.

    Where images have many labels, one counts as right if it gets all of its labels and no other (exact match), there
    is no `confusion` and no `top5`, and `multilabel` says the rest.
    """

    subset: str
    images: int
    loss: float
    accuracy: float
    interval: tuple[float, float]
    top5: float | None
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows are the true labels, columns the predicted ones, both in the order of the labels."""
    predictions: tuple[int, ...]
    """The predicted label's index per image, in the manifest's order; of many labels the sum of 2^index."""
    probabilities: tuple[tuple[float, ...], ...] = ()
    """Per image, of every class, to six digits; of two classes only the second's. ROC and precision-recall curves
    are made from them by `toolkit.stats.curves`."""
    calibration: Calibration | None = None
    multilabel: MultilabelMetrics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """A model file that was made elsewhere, and how its ends are to be read."""

    file: str
    """Its name, without folders."""
    sha256: str
    """Of the file; of several files, of their names and digests."""
    format: str
    """One of "keras", "saved-model", "frozen-graph", "onnx", "tflite", "openvino"."""
    dtype: str
    """The type of its input: "f32", "f16", "u8" or "i8"."""
    layout: str
    """"NHWC" or "NCHW"."""
    color: str
    """"RGB" or "BGR"."""
    mean: tuple[float, float, float]
    """Taken from pixels in 0…255, in the order of its own channels."""
    std: tuple[float, float, float]
    """What they are then divided by."""
    output: str
    """"logits" or "probabilities"."""
    quantized: bool = False
    """Whether it came with ranges of its own."""
    output_scale: float | None = None
    output_zero_point: int = 0
    """Its integer answers are (number - zero) * scale; a scale of None: they are floats."""
    input_scale: float | None = None
    input_zero_point: int = 0
    """Its integer input is number / scale + zero; a scale of None: it takes floats, or pixels as they are."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of every file of it, such as those with an ONNX model's weights, by its path beside `file`."""
    signature: str = ""
    """Of a SavedModel; empty: its default."""
    forced: str = ""
    """The reason for which it was imported although it is no better than guessing on the labeled images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """How a stage ended on the validation images, to be compared with other stages of its trial."""

    temperature: float
    """Logits are divided by it, so that the probabilities are calibrated (Guo et al., ICML 2017)."""
    loss: float
    """The mean cross-entropy in nats at that temperature."""
    uncalibrated_loss: float
    """The same at temperature 1; unlike `loss`, it is not near 0 for every model that is right on all images."""
    correct: tuple[bool, ...]
    """Per image, in the manifest's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePoint:
    """The accuracy of linear heads that were fitted on so many images of each class."""

    per_class: int
    accuracy: float
    """On the test images, the mean of several draws."""
    interval: tuple[float, float]
    """95 % of the mean, widened to hold every draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleEfficiency:
    """Accuracy against the number of training images, and what more of them are worth."""

    points: tuple[SamplePoint, ...]
    more: int
    """Images of each class."""
    gain: float
    """Accuracy that they would add, by a power law of the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangerResult:
    """How a rejection rule treats images of no class that the model knows."""

    images: int
    unknown: int
    """How many of them get no answer."""
    auroc: float
    """The probability that a test image scores higher than a stranger."""
    auroc_of_probability: float
    """The same by the largest probability, the usual score."""
    classes_left_out: int = 0
    """How many classes were strangers in turn, each to a head on the frozen features that was fitted without it; 0: the
    strangers are images of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """When a model answers "unknown": if the score of its probabilities at `temperature` is below `threshold`."""

    score: str
    """The one of `toolkit.device.rejection.SCORES` that orders the validation images best."""
    error: float
    """The requested share of wrong answers among those given."""
    temperature: float
    threshold: float
    validation_error: float
    """The share of wrong answers among those given on the validation images."""
    coverage: float
    """The share of validation images that get an answer."""
    test_images: int = 0
    test_answers: int = 0
    """How many test images get an answer."""
    test_errors: int = 0
    """How many of these answers are wrong."""
    curve: tuple[tuple[float, float], ...] = ()
    """Coverage of the test images and share of wrong answers, for thresholds from the highest to the lowest."""
    strangers: StrangerResult | None = None

    def to_manifest(self) -> dict[str, str | float]:
        """Return what devices need of it, as `toolkit.device.rejection` reads it."""
        return {name: getattr(self, name) for name in ("score", "temperature", "threshold", "error")}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A Keras model that takes float32 NHWC RGB images in 0…255 (its scaling is inside) and gives probabilities."""

    digest: str
    parent: str
    """The split it was trained on."""
    run: str
    """The digest of experiment, data and code versions: what makes it the same run."""
    experiment: str
    network: str
    head: str
    stage: str
    weights: str
    """Where the initial weights came from: "imagenet", "none", or a file's name."""
    note: str
    labels: tuple[str, ...]
    input_size: tuple[int, int]
    """Height and width in pixels."""
    crop: str
    """How an image becomes that size: "resize" or "center"."""
    scaling: str
    """The network's own input scaling in words, such as "(x - 127) / 128"."""
    path: str
    parameters: int
    history: tuple[Epoch, ...]
    evaluation: Evaluation
    seconds: float
    loss: str = "auto"
    """Which loss it was trained with: "binary", "categorical" or "sparse-categorical"; "auto": its head's usual one."""
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""
    """The training profile of the process that made it (toolkit.experiment.compute_profiles); empty: it was started without naming one."""
    imported: ImportedModel | None = None
    """For a model that was not trained here: where it came from. Its history is empty, and `evaluation` is of the file."""

    @property
    def name(self) -> str:
        """NETWORK-HEAD-STAGE, by which messages and commands call it."""
        return f"{self.network}-{self.head}-{self.stage}"

    validation: ValidationResult | None = None
    withheld: str = ""
    """Why this stage is not converted, deployed or recommended; empty: it is offered."""
    rejection: Rejection | None = None
    sample_efficiency: SampleEfficiency | None = None
    """Of the top stage where it trains on cached features."""
