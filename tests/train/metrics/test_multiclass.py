from __future__ import annotations

import math

import numpy as np
import pytest

from toolkit import networks
from toolkit.train.metrics import multiclass
from toolkit.train.sanity_checks import warnings_for


def test_evaluate_scores_are_exact_when_two_of_six_are_wrong() -> None:
    logits = np.array([[-2.0], [-1.0], [3.0], [1.0], [2.0], [-4.0]])
    judged = multiclass.evaluate(logits, np.array([0, 0, 0, 1, 1, 1]), ("no", "yes"), "test")
    assert judged.predictions == (0, 0, 1, 1, 1, 0)
    assert judged.confusion == ((2, 1), (1, 2))
    assert judged.accuracy == pytest.approx(4 / 6)
    assert judged.interval == pytest.approx((0.3000, 0.9032), abs=1e-4)
    assert [(s.precision, s.recall, s.f1, s.support) for s in judged.classes] == [
        pytest.approx((2 / 3, 2 / 3, 2 / 3, 3)),
        pytest.approx((2 / 3, 2 / 3, 2 / 3, 3)),
    ]
    assert judged.top5 is None


def test_class_scores_are_zero_when_a_class_is_never_predicted() -> None:
    never, always = multiclass.class_scores(np.array([[0, 2], [0, 6]]), ("rare", "common"))
    assert (never.precision, never.recall, never.f1, never.support) == (0, 0, 0, 2)
    assert (always.precision, always.recall, always.f1) == pytest.approx((6 / 8, 1, 12 / 14))


def test_cross_entropies_agree_when_softmax_equals_sigmoid() -> None:
    z, labels = np.array([-3.0, 0.0, 0.5, 8.0]), np.array([1, 0, 1, 0])
    expected = np.mean([math.log1p(math.exp(3)), math.log(2), math.log1p(math.exp(-0.5)), math.log1p(math.exp(8))])
    assert multiclass.binary_cross_entropy(z, labels) == pytest.approx(expected)
    pairs = np.stack([np.full(4, 0.25), z + 0.25], axis=1)
    assert multiclass.categorical_cross_entropy(pairs, labels) == pytest.approx(expected)


def test_cross_entropies_stay_finite_when_logits_are_huge() -> None:
    assert multiclass.binary_cross_entropy(np.array([1e4, -1e4]), np.array([0, 0])) == pytest.approx(5e3)
    assert multiclass.categorical_cross_entropy(np.array([[1e4, 0.0]]), np.array([1])) == pytest.approx(1e4)


def test_probabilities_sum_to_one_when_made_of_either_head() -> None:
    np.testing.assert_allclose(multiclass.probabilities(np.array([[0.0], [1e4]])), [[0.5, 0.5], [0, 1]])
    np.testing.assert_allclose(multiclass.probabilities(np.array([[0.0, math.log(3)]])), [[0.25, 0.75]])


def test_top5_counts_label_anywhere_when_classes_are_more() -> None:
    logits = np.array([[6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6.0]])
    judged = multiclass.evaluate(logits, np.array([4, 0]), tuple("abcdef"), "test")
    assert (judged.accuracy, judged.top5) == (0, 0.5)


def test_warnings_for_is_silent_when_better_than_the_majority() -> None:
    logits = np.eye(2)[[1] * 60 + [0] * 6 + [1] * 34]
    good = multiclass.evaluate(logits, np.array([1] * 60 + [0] * 40), ("a", "b"), "test")
    assert good.accuracy == 0.66
    assert warnings_for(good, weights="imagenet", stage="top") == ()


def test_warnings_for_name_random_weights_when_body_is_frozen() -> None:
    logits = np.eye(2)[[1] * 60 + [0] * 4 + [1] * 36]
    poor = multiclass.evaluate(logits, np.array([1] * 60 + [0] * 40), ("a", "b"), "test")
    (warning,) = warnings_for(poor, weights="none", stage="top")
    assert "accuracy 0.640 is within one standard error (0.049) of the majority rate 0.600" in warning
    assert "random weights" in warning


def test_softmax_binary_cross_entropy_equals_that_of_the_head() -> None:
    networks.start_tensorflow()
    logits = np.random.default_rng(0).normal(scale=5, size=(7, 4)).astype("f4")
    labels = np.array([0, 1, 2, 3, 0, 1, 2])
    head = networks.find_head("softmax", 4, "binary")
    ours = float(np.mean(head.losses()(head.targets(labels, 4), logits)))
    assert multiclass.cross_entropy(logits, labels, "binary") == pytest.approx(ours, rel=1e-5)
    assert multiclass.softmax_binary_cross_entropy(np.array([[1e4, 0.0, 0.0]]), np.array([1])) == pytest.approx(
        (2e4 - math.log(2)) / 3
    )


def test_calibration_is_gap_to_accuracy_when_bins_differ() -> None:
    result = multiclass.calibration(np.array([0.9, 0.9, 0.9, 0.9, 0.6, 1.0]), np.array([1, 1, 1, 0, 1, 1], bool))
    assert result.ece == pytest.approx((4 * 0.15 + 1 * 0.4 + 0) / 6)
    assert [own.images for own in result.bins if own.images] == [1, 4, 1]


def test_evaluate_keeps_one_column_when_there_are_two_classes() -> None:
    two = multiclass.evaluate(np.array([[0.0, math.log(3)]]), np.array([1]), ("a", "b"), "test")
    assert two.probabilities == ((0.75,),)
    three = multiclass.evaluate(np.zeros((2, 3)), np.array([1, 2]), ("a", "b", "c"), "test")
    assert three.probabilities == ((0.333333,) * 3,) * 2
    assert (three.classes[0].roc_auc, three.classes[1].roc_auc) == (None, 0.5)
