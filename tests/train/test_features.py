from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from toolkit import networks
from toolkit.experiment.load import load_experiment
from toolkit.progress import Silent
from toolkit.train.backbone import OpenVinoBackbone
from toolkit.train.features import AUGMENTED, frozen_features
from toolkit.train.fitting.loop import Examples, TrainState, batched_predict, fit
from toolkit.train.trial_context import SubsetArrays, load_subsets, prepare_trial, starting_model
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench

pytestmark = pytest.mark.slow


def test_feature_training_equals_full_when_backbone_is_frozen(bench: Bench, workspace: Workspace) -> None:
    own = load_experiment(bench.file)
    trial = next(own.trials())
    stage = trial.stages[0]
    job = prepare_trial(own, trial, bench.split(workspace), workspace, Silent())
    parts, trained = load_subsets(job), []
    for through in (False, True):
        model = starting_model(job, None)
        backbone, top = networks.features_part(model), networks.head_part(model)
        if through:
            used = networks.logits_part(model)
            examples = {name: part.examples for name, part in parts.items()}
        else:
            used = top
            examples = frozen_features(job, model, parts)

        def forward(x: object, *, through: bool = through, backbone: object = backbone, top: object = top) -> object:
            return top(backbone(x, training=False) if through else x, training=True)  # type: ignore[operator]

        state = TrainState(used, forward, top.trainable_variables, job.head, job.class_weights, batched_predict(used))
        history = fit(state, examples["train"], examples["validation"], job.fit_config(stage), Silent())
        job.fit_config(stage).checkpoint.unlink()
        trained.append((history, top.get_weights()))
    for one, other in zip(trained[0][1], trained[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for first, second in zip(trained[0][0], trained[1][0], strict=True):
        np.testing.assert_allclose([first.loss, first.val_loss], [second.loss, second.val_loss], rtol=1e-4)


def test_frozen_features_are_shared_when_only_the_head_differs(bench: Bench, workspace: Workspace) -> None:
    for head in ("softmax", "sigmoid"):
        bench.train(workspace, head=head, last="top")
    assert len(list(workspace.folder("cache", "features").glob("*.npy"))) == 3


def test_only_new_images_go_through_the_backbone(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = load_experiment(bench.file)
    context = prepare_trial(own, next(own.trials()), bench.split(workspace), workspace, Silent())
    model, subsets, computed = starting_model(context, None), load_subsets(context), list[int]()
    before = frozen_features(context, model, subsets)
    compute = OpenVinoBackbone.features

    def count(backbone: OpenVinoBackbone, images: np.ndarray) -> np.ndarray:
        computed.append(len(images))
        return compute(backbone, images)

    monkeypatch.setattr(OpenVinoBackbone, "features", count)
    train, new = subsets["train"], subsets["test"].examples.inputs[:2][..., ::-1]
    inputs, labels = np.concatenate([new, train.examples.inputs]), np.append([0, 0], train.examples.labels)
    grown = {"train": SubsetArrays(Examples(inputs, labels), ("a" * 64, "b" * 64, *train.digests))}
    after = frozen_features(context, model, grown)["train"].inputs
    assert computed == [2]
    assert np.array_equal(after[2:], before["train"].inputs)
    np.testing.assert_array_equal(after[:2], compute(OpenVinoBackbone(networks.features_part(model)), new))


def test_augmented_copies_depend_on_the_image_alone(bench: Bench, workspace: Workspace) -> None:
    bench.change('augment = "none"', "[augment]\nflip = true\nbrightness = 0.2\nstages = ['fine-tune']")
    own = load_experiment(bench.file)
    context = prepare_trial(own, next(own.trials()), bench.split(workspace), workspace, Silent())
    model, subsets = starting_model(context, None), load_subsets(context)
    features = frozen_features(context, model, subsets, copies=2)
    plain, copies = features["train"], features[AUGMENTED]
    first, second = np.split(copies.inputs, 2)
    assert np.array_equal(copies.labels, np.tile(plain.labels, 2))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, plain.inputs)
    assert np.abs(first - plain.inputs).mean() < np.abs(plain.inputs[::-1] - plain.inputs).mean()

    train = subsets["train"]
    examples = Examples(train.examples.inputs[::-1], train.examples.labels[::-1])
    turned = subsets | {"train": SubsetArrays(examples, train.digests[::-1])}
    again = frozen_features(context, model, turned, copies=1)[AUGMENTED]
    np.testing.assert_array_equal(again.inputs, first[::-1])
