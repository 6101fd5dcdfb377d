"""The default recipe: every training setting that an experiment leaves out, chosen from the data and the initial weights.

    initial weights    stages            why
    pretrained         top, fine-tune    the head is solved on frozen features; fine-tuning starts from it, at a low rate
    random ("none")    fine-tune         features of random weights carry little information, so a head alone learns little

Fine-tuning runs the whole schedule and keeps the weights of its end: the epoch that a few validation images like best is
chosen by chance, at a high learning rate. The values follow published practice. `just bench accuracy` compares them with
logistic regression on frozen features, Keras' transfer-learning guide and the former defaults; docs/performance.md lists
the data sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.errors import ConfigurationError
from toolkit.experiment.lr_schedules import Constant, Cosine, Schedule
from toolkit.experiment.training_schema import AugmentConfig, ClassWeights, Stage, StageConfig, Trial

STAGES: tuple[Stage, ...] = ("top", "fine-tune")
AUGMENT = AugmentConfig(flip=True, crop=0.2, brightness=0.1, contrast=0.2, stages=("fine-tune",))
"""Light enough for any photographs. The top stage sees the features of some copies, so that it can cache them."""
_MOST_COPIES, _MOST_WITH_COPIES = 4, 2_000
"""More copies of an image teach a head nothing new, and neither do copies where there are many images."""
UNEVEN = 2.0
"""Classes are weighted where the largest has more than this many times the images of the smallest."""
_EPOCHS: dict[str, tuple[tuple[int, int], ...]] = {
    "top": ((1_000, 40), (10_000, 20)),
    "fine-tune": ((500, 20), (1_000, 12), (10_000, 8)),
    "from scratch": ((1_000, 60), (10_000, 40)),
}
_EPOCHS_OF_MORE = {"top": 10, "fine-tune": 5, "from scratch": 20}


def complete(trial: Trial, counts: Mapping[str, int], *, images: int, multi_label: bool) -> Trial:
    """The trial with every setting chosen.

    Args:
        trial: As the experiment has it.
        counts: Training images by label.
        images: Training images in all.
        multi_label: Whether an image may have several labels.

    Raises:
        ConfigurationError: augmented copies of images that are not augmented, or that are augmented in every epoch.
    """
    for stage in trial.stages:
        _check_copies(stage, trial)
    return trial.model_copy(
        update={
            "stages": tuple(_complete_stage(stage, trial, images) for stage in trial.stages),
            "label_smoothing": _label_smoothing(trial),
            "class_weights": _class_weights(trial, counts, multi_label=multi_label),
            "augment": AUGMENT if trial.augment is None else trial.augment,
        }
    )


def default_stages(weights: str) -> tuple[Stage, ...]:
    """The stages of a trial that names none."""
    return STAGES[1:] if weights == "none" else STAGES


def epochs_for(kind: str, images: int) -> int:
    """Fewer passes over more images; `kind` is "top", "fine-tune" or "from scratch"."""
    return next((epochs for most, epochs in _EPOCHS[kind] if images <= most), _EPOCHS_OF_MORE[kind])


def _complete_stage(stage: StageConfig, trial: Trial, images: int) -> StageConfig:
    optimizer = stage.optimizer or ("lbfgs" if stage.name == "top" and _is_linear(trial) else "adamw")
    from_scratch = trial.weights == "none" and stage.name == "fine-tune"
    from_trained = stage.name == "fine-tune" and not from_scratch
    epochs = stage.epochs or epochs_for("from scratch" if from_scratch else stage.name, images)
    chosen: dict[str, Any] = {
        "optimizer": optimizer,
        "epochs": epochs,
        "patience": None if from_trained else max(3, epochs // 3),
        "learning_rate": 5e-4 if from_trained else 1e-3,
        "schedule": _schedule(epochs),
        "weight_decay": 0.01 if optimizer == "adamw" else 0.0,
        "clip_norm": 1.0,
        "average": 0.0 if from_scratch else 0.99,
    }
    if stage.name == "top":
        chosen["augmented_copies"] = _augmented_copies(optimizer, trial, images)
    else:
        chosen |= {
            "head_rate": 1.0 if from_scratch else 10.0,
            "batch_norm": "training" if from_scratch else "inference",
        }
    return stage.model_copy(update={key: value for key, value in chosen.items() if getattr(stage, key) is None})


def _augmented_copies(optimizer: str, trial: Trial, images: int) -> int:
    """No copies where the experiment has an [augment] of its own, which names its stages."""
    if optimizer != "lbfgs" or trial.augment is not None:
        return 0
    return max(0, min(_MOST_COPIES, _MOST_WITH_COPIES // max(images, 1) - 1))


def _check_copies(stage: StageConfig, trial: Trial) -> None:
    where = "stages.top.augmented_copies"
    if stage.augmented_copies and trial.augment == "none":
        raise ConfigurationError('there is nothing to vary them by: augment is "none"', where=where)
    if stage.augmented_copies and trial.augmentation("top"):
        raise ConfigurationError(
            "[augment] varies the images of the top stage in every epoch",
            where=where,
            remedy='leave it out, or set augment.stages = ["fine-tune"]',
        )


def _schedule(epochs: int) -> Schedule:
    return Cosine(warmup=min(1.0, epochs / 10)) if epochs > 2 else Constant()


def _is_linear(trial: Trial) -> bool:
    """Whether the head is one linear layer whose usual loss is convex and whose inputs are the same in every epoch."""
    return (
        not trial.hidden
        and not trial.dropout
        and not (trial.head == "softmax" and trial.loss == "binary")
        and trial.augmentation("top") is None
    )


def _label_smoothing(trial: Trial) -> float:
    if trial.label_smoothing is not None:
        return trial.label_smoothing
    return 0.1 if trial.head == "softmax" and trial.loss in {"auto", "categorical"} else 0.0


def _class_weights(trial: Trial, counts: Mapping[str, int], *, multi_label: bool) -> ClassWeights | dict[str, float]:
    if trial.class_weights != "auto":
        return trial.class_weights
    sizes = counts.values()
    uneven = not multi_label and min(sizes, default=0) > 0 and max(sizes) > UNEVEN * min(sizes)
    return "balanced" if uneven else "none"
