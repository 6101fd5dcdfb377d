from __future__ import annotations

import math
import re
from itertools import product

import numpy as np
import pytest

from toolkit.errors import ConfigurationError
from toolkit.experiment.schema import NO_LOSS
from toolkit.networks import HEADS, find_head, start_tensorflow
from toolkit.networks.heads import softmax_binary_cross_entropy

LOSSES = ("binary", "categorical", "sparse-categorical")


def test_find_head_says_why_when_a_sigmoid_meets_three_classes() -> None:
    with pytest.raises(ConfigurationError, match="one sigmoid unit tells 2 classes apart, and the data has 3"):
        find_head("sigmoid", 3)


def test_find_head_lists_the_known_when_the_name_is_unknown() -> None:
    with pytest.raises(ConfigurationError, match="sigmoid, softmax"):
        find_head("relu", 2)


def test_targets_have_the_loss_shape_when_made_of_labels() -> None:
    labels = np.array([1, 0])
    np.testing.assert_array_equal(find_head("sigmoid", 2).targets(labels, 2), [[1], [0]])
    np.testing.assert_array_equal(find_head("softmax", 3).targets(labels, 3), [[0, 1, 0], [1, 0, 0]])
    sparse = find_head("softmax", 3, "sparse-categorical").targets(labels, 3)
    assert (sparse.dtype, sparse.tolist()) == (np.int64, [1, 0])


def test_targets_are_drawn_to_the_middle_when_smoothed() -> None:
    labels = np.array([1])
    np.testing.assert_allclose(find_head("sigmoid", 2, label_smoothing=0.2).targets(labels, 2), [[0.9]])
    np.testing.assert_allclose(
        find_head("softmax", 4, label_smoothing=0.2).targets(labels, 4), [[0.05, 0.85, 0.05, 0.05]], atol=1e-7
    )
    np.testing.assert_allclose(
        find_head("softmax", 4, "binary", 0.2).targets(labels, 4), [[0.1, 0.9, 0.1, 0.1]], atol=1e-7
    )


@pytest.mark.parametrize(("head", "loss"), list(product(HEADS, LOSSES)))
def test_find_head_refuses_with_the_reason_when_the_pair(head: str, loss: str) -> None:
    if (head, loss) in NO_LOSS:
        with pytest.raises(ConfigurationError, match=re.escape(NO_LOSS[head, loss])):
            find_head(head, 2, loss, multi_label=head == "multi-sigmoid")
    else:
        assert find_head(head, 2, loss, multi_label=head == "multi-sigmoid").loss_name == loss


@pytest.mark.parametrize(
    ("head", "multi_label", "why"),
    [
        ("softmax", True, "a softmax shares one out among them"),
        ("sigmoid", True, "one sigmoid unit tells two classes apart"),
        ("multi-sigmoid", False, "each image has one label"),
    ],
)
def test_find_head_refuses_with_the_reason_when_images(head: str, multi_label: bool, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        find_head(head, 2, multi_label=multi_label)


@pytest.mark.parametrize(("head", "loss"), [("sigmoid", "binary"), *(("softmax", loss) for loss in LOSSES)])
def test_losses_are_alike_when_the_heads_say_the_same_of_two(head: str, loss: str) -> None:
    start_tensorflow()
    z, labels = np.array([-3.0, 0.0, 0.5, 8.0], "f4"), np.array([1, 0, 1, 0])
    expected = [math.log1p(math.exp(3)), math.log(2), math.log1p(math.exp(-0.5)), math.log1p(math.exp(8))]
    own = find_head(head, 2, loss)
    logits = z[:, None] if head == "sigmoid" else np.stack([np.zeros_like(z), z], axis=1)
    np.testing.assert_allclose(own.losses()(own.targets(labels, 2), logits), expected, rtol=1e-5)


def test_softmax_binary_cross_entropy_is_the_papers() -> None:
    start_tensorflow()
    logits = np.random.default_rng(0).normal(size=(6, 5)).astype("f4")
    one_hot = np.eye(5, dtype="f4")[[0, 1, 2, 3, 4, 0]]
    p = np.exp(logits.astype("f8")) / np.exp(logits.astype("f8")).sum(axis=1, keepdims=True)
    expected = -np.mean(one_hot * np.log(p) + (1 - one_hot) * np.log(1 - p), axis=1)
    np.testing.assert_allclose(softmax_binary_cross_entropy(one_hot, logits), expected, rtol=1e-5)


def test_softmax_binary_cross_entropy_and_its_slope_are_finite() -> None:
    tf = start_tensorflow()
    logits = tf.constant([[90.0, 0.0, -90.0], [1e4, -1e4, 0.0], [50.0, 50.0, 50.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = softmax_binary_cross_entropy(tf.constant([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]), logits)
    np.testing.assert_allclose(loss[0], (90 + 90) / 3, rtol=1e-5)  # -log p of the label, -log(1 - p) of the likeliest
    assert float(loss[1]) == 0
    assert np.isfinite(tape.gradient(loss, logits)).all()
