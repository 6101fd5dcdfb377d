"""Training on images with many labels: blue, red, both or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from toolkit.errors import ConfigurationError
from toolkit.experiment.load import load_experiment
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench, Stopping

KINDS = ((), ("blue",), ("red",), ("blue", "red"))


@pytest.fixture
def multi_label(bench: Bench) -> Bench:
    """The same bench with a list of 64 images, a quarter of each kind."""
    draw, lines = np.random.default_rng(3), ["path,label"]
    for number in range(64):
        image = draw.integers(0, 120, (32, 32, 3)).astype(np.uint8)
        for label in KINDS[number % 4]:
            image[..., 0 if label == "blue" else 2] += 100
        cv2.imwrite(str(bench.root / f"{number:02}.png"), image)
        lines.append(f"{number:02}.png,{';'.join(KINDS[number % 4])}")
    (bench.root / "many.csv").write_text("\n".join(lines))
    bench.change('source = "folders"\npath = "images"', 'source = "csv"\npath = "many.csv"\nseparator = ";"')
    bench.change('["softmax", "sigmoid"]', '["multi-sigmoid"]')
    bench.change("learning_rate = 0.003", "learning_rate = 0.02")
    bench.change("epochs = 3\nlearning_rate = 0.02", "epochs = 8\nlearning_rate = 0.02")
    return bench


@pytest.mark.slow
def test_train_trial_tells_every_label_when_images_have_many(
    multi_label: Bench, workspace: Workspace, stopping: type[Stopping]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        multi_label.train(workspace, stopping(line="epoch 2/8"), head="multi-sigmoid")
    top, tuned = multi_label.train(workspace, head="multi-sigmoid")
    assert (tuned.head, tuned.loss, tuned.labels) == ("multi-sigmoid", "binary", ("blue", "red"))
    assert [epoch.number for epoch in tuned.history] == list(range(1, len(tuned.history) + 1))
    judged = tuned.evaluation.multilabel
    assert judged is not None
    assert judged.mean_average_precision is not None
    assert judged.mean_average_precision > 0.95
    assert judged.micro.f1 > 0.9
    assert tuned.evaluation.accuracy > top.evaluation.accuracy - 0.2
    assert tuned.warnings == ()

    other = Workspace(workspace.root.parent / "other")
    assert [model.digest for model in multi_label.train(other, head="multi-sigmoid")] == [top.digest, tuned.digest]


def test_load_refuses_a_head_when_the_data_has_other_labels(multi_label: Bench) -> None:
    multi_label.change('["multi-sigmoid"]', '["softmax"]')
    with pytest.raises(ConfigurationError, match="an image may have several labels"):
        load_experiment(multi_label.file)
    multi_label.change('["softmax"]', '["multi-sigmoid"]')
    multi_label.change('separator = ";"\n', "")
    with pytest.raises(ConfigurationError, match="each image has one label"):
        load_experiment(multi_label.file)
