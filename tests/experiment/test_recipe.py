from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import ConfigurationError
from toolkit.experiment import recipe
from toolkit.experiment.load import load_experiment
from toolkit.experiment.lr_schedules import Cosine
from toolkit.experiment.training_schema import AugmentConfig, Trial

FOLDER = 'name = "pets"\n[data]\nsource = "folders"\npath = "pets"\n'
EVEN, UNEVEN = {"cat": 50, "dog": 50}, {"cat": 90, "dog": 10}


def trial_of(folder: Path, text: str = "") -> Trial:
    path = folder / "pets.toml"
    path.write_text(FOLDER + text)
    return next(load_experiment(path).trials())


def test_complete_chooses_every_setting_when_none_is_given(tmp_path: Path) -> None:
    trial = recipe.complete(trial_of(tmp_path), EVEN, images=100, multi_label=False)
    top, fine = trial.stages
    assert (trial.network, trial.head, trial.offer) == ("efficientnet_lite0", "softmax", "improved")
    assert (top.name, top.optimizer, top.augmented_copies) == ("top", "lbfgs", 4)
    assert (fine.optimizer, fine.learning_rate, fine.head_rate) == ("adamw", 5e-4, 10)
    assert isinstance(fine.schedule, Cosine)
    assert fine.schedule.warmup == 1
    assert None not in fine.model_dump(exclude={"from_layer", "patience"}).values()
    assert (fine.patience, top.patience) == (None, 13)
    assert trial.augmentation("top") is None
    assert isinstance(trial.augmentation("fine-tune"), AugmentConfig)


def test_complete_keeps_what_the_experiment_says(tmp_path: Path) -> None:
    text = '[train]\nclass_weights = "none"\nlabel_smoothing = 0\n[[stages]]\nname = "top"\noptimizer = "sgd"\naverage = 0\n'
    trial = recipe.complete(trial_of(tmp_path, text), UNEVEN, images=100, multi_label=False)
    (top,) = trial.stages
    assert (trial.class_weights, trial.label_smoothing) == ("none", 0)
    assert (top.optimizer, top.average, top.weight_decay) == ("sgd", 0, 0)


@pytest.mark.parametrize(("counts", "expected"), [(EVEN, "none"), (UNEVEN, "balanced"), ({"cat": 3, "dog": 0}, "none")])
def test_classes_are_weighted_when_they_are_uneven(counts: dict[str, int], expected: str, tmp_path: Path) -> None:
    trial = recipe.complete(trial_of(tmp_path), counts, images=100, multi_label=False)
    assert trial.class_weights == expected


def test_random_weights_skip_the_top_stage_unless_it_is_named(tmp_path: Path) -> None:
    random = '[networks.efficientnet_lite0]\nweights = "none"\n'
    assert [stage.name for stage in trial_of(tmp_path, random).stages] == ["fine-tune"]
    asked = random + "stages.top.epochs = 2\n"
    assert [stage.name for stage in trial_of(tmp_path, asked).stages] == ["top", "fine-tune"]


def test_random_weights_train_batch_norm_at_a_full_rate(tmp_path: Path) -> None:
    random = trial_of(tmp_path, '[networks.efficientnet_lite0]\nweights = "none"\n')
    (fine,) = recipe.complete(random, EVEN, images=100, multi_label=False).stages
    assert (fine.batch_norm, fine.learning_rate, fine.head_rate, fine.average) == ("training", 1e-3, 1, 0)
    assert fine.patience == 20


def test_more_images_take_fewer_epochs() -> None:
    for kind in ("top", "fine-tune", "from scratch"):
        epochs = [recipe.epochs_for(kind, images) for images in (100, 5_000, 50_000)]
        assert epochs == sorted(epochs, reverse=True)


@pytest.mark.parametrize(("images", "copies"), [(10, 4), (400, 4), (600, 2), (2_000, 0), (50_000, 0)])
def test_few_images_are_joined_by_augmented_copies(images: int, copies: int, tmp_path: Path) -> None:
    top, _ = recipe.complete(trial_of(tmp_path), EVEN, images=images, multi_label=False).stages
    assert top.augmented_copies == copies


@pytest.mark.parametrize(
    ("augment", "problem"),
    [('augment = "none"', "nothing to vary them by"), ("[augment]\nflip = true", "in every epoch")],
)
def test_augmented_copies_that_contradict_augment_are_refused(augment: str, problem: str, tmp_path: Path) -> None:
    stages = '[[stages]]\nname = "top"\naugmented_copies = 2\n'
    path = tmp_path / "pets.toml"
    path.write_text(
        augment.startswith("augment") * f"{augment}\n" + FOLDER + stages + augment.startswith("[") * augment
    )
    with pytest.raises(ConfigurationError, match=problem):
        recipe.complete(next(load_experiment(path).trials()), EVEN, images=100, multi_label=False)
