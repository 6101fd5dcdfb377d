"""People's decisions about captured images, and the artifacts made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CLASS, UNKNOWN, NOT_SURE, UNDO = "class", "unknown", "not sure", "undo"
VERDICTS = (CLASS, UNKNOWN, NOT_SURE)
"""What a person can decide: a class of the experiment, none of its classes, or that the image does not show which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDecision:
    """One decision about one capture. Decisions are never changed: a later one overrules it, an undo takes it back."""

    digest: str
    parent: str
    """The digest of the capture."""
    verdict: str
    """One of VERDICTS, or UNDO."""
    label: str = ""
    """The name of the class, if the verdict is CLASS."""
    who: str
    at: str
    """When, ISO 8601 in UTC."""
    batch: str
    """Decisions made by one keystroke or one import have the same, and are undone together."""
    undoes: str = ""
    """Of an UNDO: the digest of the decision that it takes back."""
    origin: str = ""
    """"page", or the name of the file that it was imported from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedClass:
    """A class that people label with and that the experiment's own data does not have."""

    digest: str
    """Of experiment and name."""
    experiment: str
    name: str
    who: str
    at: str
    """When, ISO 8601 in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """A version of an experiment's data set, and how it came about."""

    digest: str
    """Of experiment and split."""
    parent: str
    """The digest of the version before it; empty for the first."""
    experiment: str
    split: str
    """The digest of the split, which is that of its images, labels and subsets."""
    number: int
    """1 is the split of the experiment's own data."""
    captures: Mapping[str, str] = field(default_factory=dict)
    """The subset of every capture in it by its digest."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Labeled captures that are in no subset, counted by reason."""

    @property
    def name(self) -> str:
        """EXPERIMENT@vN, by which messages and commands call it."""
        return f"{self.experiment}@v{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison:
    """The serving model and the new one on the same images; differences are the new one's accuracy minus the other's."""

    images_of: str
    """"old test images", "new test images", "test images of new classes", which the serving model cannot get right, or
    "device NAME": the test images that it captured, of classes that both models know."""
    images: int
    serving: float
    serving_interval: tuple[float, float]
    """95 %, Wilson's."""
    new: float
    new_interval: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    """95 %, Newcombe's for paired proportions."""
    only_serving: int
    """Images that only the serving model gets right."""
    only_new: int
    p_value: float
    """McNemar's exact test, two-sided; of devices adjusted by Holm's method, since there are several."""

    @property
    def lost(self) -> bool:
        """Whether the new model is significantly worse, at 5 %."""
        return self.p_value < SIGNIFICANT and self.only_serving > self.only_new


SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """A model trained on a version of the data set, set beside the one that served."""

    digest: str
    """Of both models."""
    parent: str
    """The new model."""
    experiment: str
    version: str
    """The name of the version that it learned from."""
    version_digest: str
    serving: str
    """The digest of the model that served."""
    serving_version: str
    """What it was trained on."""
    comparisons: tuple[ModelComparison, ...]
    refused: str = ""
    """Why it was not converted; empty if it was."""
    bundle: str = ""
    """The digest of the bundle to deploy."""
    at: str = ""
