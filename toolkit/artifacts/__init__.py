"""The values that pass between stages: frozen, each naming the digest of what it was made from.

    Split ─▶ TrainedModel ─▶ IrModel (+ Parity) ─▶ Bundle ─▶ BenchRecord
                                                     └─────▶ Deployment

`parent` walks one step back, so any figure in a report leads to the bytes of the model, the split of the data and the
versions that made it. Paths are relative to the workspace. Digests are lower-case SHA-256 in hex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A data set divided into train, validation and test; `digest` covers every image's bytes, label and part."""

    digest: str
    name: str
    note: str = ""
    """What a reader of any figure made from it must know, such as "synthetic masks"; shown wherever one is."""
    labels: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    """Images per part and label: counts["train"]["with_mask"]."""
    path: str
    """The split manifest: JSON lines, one image each."""
    images: Mapping[str, int] = field(default_factory=dict)
    """Images per part where one may have several labels, or none; empty where each has one."""

    @property
    def many(self) -> bool:
        """Whether an image may have several labels, or none."""
        return bool(self.images)

    def size(self, part: str) -> int:
        """Images of a part."""
        return self.images[part] if self.many else sum(self.counts.get(part, {}).values())


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
    """The images whose answer's probability lies in one of the equal parts of 0…1; means over them."""

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether answers given with 90 % are right nine times of ten; `ece` is the expected calibration error."""

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
class LabelScores:
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
    is no `confusion` and no `top5`, and `labelwise` says the rest.
    """

    part: str
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
    labelwise: LabelScores | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A model file that was made elsewhere, and how its ends are to be read."""

    file: str
    """Its name, without folders."""
    sha256: str
    """Of the file; of a folder, of its files' names and digests."""
    format: str
    """One of "keras", "saved-model", "onnx", "tflite"."""
    kind: str
    """The type of its input: "f32", "f16", "u8" or "i8"."""
    layout: str
    """"NHWC" or "NCHW"."""
    color: str
    """"RGB" or "BGR"."""
    mean: tuple[float, float, float]
    """Taken from pixels in 0…255, in the order of its own channels."""
    deviation: tuple[float, float, float]
    """What they are then divided by."""
    output: str
    """"logits" or "probabilities"."""
    quantized: bool = False
    """Whether it came with ranges of its own."""
    output_scale: float | None = None
    output_zero: int = 0
    """Its integer answers are (number - zero) * scale; a scale of None: they are floats."""


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
    """Where the first weights came from: "imagenet", "none", or a file's name."""
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
    foreign: Foreign | None = None
    """For a model that was not trained here: where it came from. Its history is empty, and `evaluation` is of the file."""


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
    growth: float
    """What the error is beyond the largest one among the layers that it reads; not less than 0."""
    largest: float
    """The largest magnitude of the output in the float32 graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
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
    steepest: tuple[LayerError, ...]
    """The layers at which it grows most, the most first."""
    layers: tuple[LayerError, ...]
    """All that both have, in the network's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How a model came to INT8: what its ranges were taken from, and what stayed in float for the accuracy's sake."""

    calibration_images: int
    """Training images that the ranges of activations were taken from."""
    judged_on: str
    """The part whose images decided what is reverted; never "test"."""
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
    """What one check of a bundle found without a device: an older runtime's agreement, the stick's compiler."""

    digest: str
    """Of bundle and check: a later outcome takes the place of an earlier one."""
    parent: str
    """The bundle."""
    name: str
    outcome: str
    """One of "passed", "failed", "skipped"."""
    told: str
    """For people, in one line."""
    details: Mapping[str, object]
    at: str


class Secret(str):
    """A text that is not printed: it was vault-encrypted in the inventory."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One host of the inventory, as Ansible sees it."""

    name: str
    host: str
    port: int = 22
    user: str | None = None
    key_file: str | None = None
    known_hosts: str | None = None
    groups: tuple[str, ...] = ()
    root: str = "/opt/toolkit"
    """Where releases live on it (toolkit_root)."""
    python: str = "/opt/toolkit/venv/bin/python"
    """The interpreter (toolkit_python); it has OpenVINO, unless releases run in a container image."""
    accelerator: str = "CPU"
    container_image: str | None = None
    """The container image that its releases run in (toolkit_container_image); None: they run by `python`."""
    variables: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What the probe found on a device: its own JSON, kept whole, with the parts that decisions rest on named."""

    device: str
    machine: str
    python: str
    openvino: str | None
    accelerators: tuple[str, ...]
    free_bytes: int
    current: str | None
    """The digest of the release it serves."""
    previous: str | None
    releases: tuple[str, ...]
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What became of one bundle on one device."""

    digest: str
    parent: str
    """The bundle."""
    device: str
    release: str
    outcome: str
    """One of "deployed", "unchanged", "failed", "rolled-back", "skipped" (its rollout ended before its turn)."""
    reason: str = ""
    sent_bytes: int = 0
    seconds: float = 0.0
    at: str = ""
    rollout: str = ""
    """What all deployments of one call have in common."""
    batch: int = 0
    """Its turn in that, from 1; 0: it had none."""
    gates: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What each gate found, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecord:
    """One scenario of one bundle on one device: raw samples and all that decides whether they count."""

    digest: str
    parent: str
    """The bundle."""
    device: str
    scenario: str
    """One of "single-stream", "offline", "accuracy"."""
    accelerator: str
    samples_ms: tuple[float, ...]
    """Milliseconds by the device's monotonic clock: latency per query; offline, completion times since the start."""
    wall_s: float
    quick: bool
    broken_rules: tuple[str, ...]
    """Empty means valid; a quick run may be valid and is still never compared with a full one."""
    accuracy: float | None
    correct: int | None
    images: int
    facts: Mapping[str, object]
    settings: Mapping[str, object]
    at: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """The one folder that work goes under."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file that every record goes to."""
        return self.root / "toolkit.db"

    def folder(self, *parts: str) -> Path:
        """A folder of the workspace, made if it is missing."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def relative(self, path: Path) -> str:
        """`path` as artifacts store it."""
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def absolute(self, path: str) -> Path:
        """The opposite of `relative`."""
        return self.root / path
