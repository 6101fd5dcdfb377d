"""Many labels to an image: what is said of a model, and that one label to an image is judged as ever."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toolkit.networks import find_head, start_tensorflow
from toolkit.stats import curves
from toolkit.train import sanity_checks
from toolkit.train.metrics import dispatch, multiclass, multilabel
from toolkit.train.misclassified import worst_decisions

NAMES = ("cat", "dog", "sofa")
LABELS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, -1]], np.int8)
LOGITS = np.array([[2.0, -2.0, -1.0], [-2.0, -1.0, -1.0], [3.0, 1.0, -1.0], [-2.0, -2.0, 5.0]], np.float32)


def test_evaluate_counts_every_judged_label_when_there_are_many() -> None:
    result = dispatch.evaluate(LOGITS, LABELS, NAMES, "test")
    labels = result.multilabel
    assert labels is not None
    assert result.accuracy == 3 / 4  # the dog of the second is missed; the sofa of the last is not judged
    assert result.predictions == (0b001, 0b000, 0b011, 0b000)
    assert labels.hamming_loss == 1 / 11
    assert labels.confusions == (((2, 0), (0, 2)), ((2, 0), (1, 1)), ((3, 0), (0, 0)))
    assert (labels.micro.precision, labels.micro.recall) == (1.0, 3 / 4)
    assert labels.macro.recall == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert labels.average_precision == (1.0, 1.0, None)
    assert labels.mean_average_precision == labels.mean_eleven_point == pytest.approx(1.0)
    assert [score.support for score in result.classes] == [2, 2, 0]
    assert result.calibration is not None
    assert sum(one.images for one in result.calibration.bins) == 11


def test_average_precisions_equal_voc_when_curve_is_uneven() -> None:
    curve = curves.precision_recall_curve([0.9, 0.8, 0.7, 0.6, 0.5], [True, False, True, False, False])
    # precision 1 up to recall 1/2, then 2/3
    assert curves.interpolated_average_precision(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curves.eleven_point_precision(curve) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            arrays(np.int8, (n, 3), elements=st.integers(-1, 1)),
            arrays(np.float32, (n, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
        )
    )
)
def test_every_figure_is_a_number_when_labels_and_logits_are_any(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, logits = drawn
    result = dispatch.evaluate(logits, labels, NAMES, "test")
    assert result.multilabel is not None
    assert math.isfinite(result.loss)
    areas = (*result.multilabel.average_precision, *result.multilabel.eleven_point)
    shares = (result.accuracy, result.multilabel.hamming_loss, *(area for area in areas if area is not None))
    assert all(0 <= share <= 1 + 1e-9 for share in shares)
    for area, steps in zip(result.multilabel.average_precision, result.classes, strict=True):
        if area is not None and steps.average_precision is not None:
            assert area >= steps.average_precision - 1e-9
    assert np.array_equal(dispatch.is_correct(logits, labels), multilabel.exact_match(logits > 0, labels))


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 6)).flatmap(
        lambda size: st.tuples(
            arrays(np.int64, size[0], elements=st.integers(0, max(size[1] - 1, 1))),
            arrays(np.float32, size, elements=st.floats(-50, 50, width=32)),
        )
    )
)
def test_one_label_is_judged_as_ever_when_it_is_the_only_one(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, logits = drawn
    names = [f"class {number}" for number in range(max(logits.shape[1], 2))]
    assert dispatch.evaluate(logits, labels, names, "test") == multiclass.evaluate(logits, labels, names, "test")
    assert np.array_equal(dispatch.is_correct(logits, labels), multiclass.predictions(logits) == labels)
    assert dispatch.cross_entropy(logits, labels) == multiclass.cross_entropy(logits, labels)
    head = find_head("sigmoid" if logits.shape[1] == 1 else "softmax", len(names))
    weights = np.arange(1, len(names) + 1, dtype=np.float32)
    assert np.array_equal(head.weights(labels, weights), weights[labels])


def test_losses_agree_with_reported_when_logits_are_extreme() -> None:
    start_tensorflow()
    head = find_head("multi-sigmoid", 3, multi_label=True)
    logits = np.array([[1e4, -1e4, 0.5], [1e4, 1e4, -1e4], [3.0, -2.0, 80.0]], np.float32)
    labels = np.array([[1, 0, 1], [0, 1, 1], [1, -1, -1]], np.int8)
    losses = head.losses()(head.targets(labels, 3), logits).numpy()
    weighted = losses * head.weights(labels, np.ones(3, np.float32))
    assert np.isfinite(losses).all()
    assert weighted.mean() == pytest.approx(dispatch.cross_entropy(logits, labels), rel=1e-6)
    assert dispatch.cross_entropy(logits, labels) == pytest.approx(
        np.mean([math.log1p(math.exp(-0.5)) / 3, 2e4 / 3, math.log1p(math.exp(-3.0))])
    )


def test_weights_count_presence_alone_when_classes_have_them() -> None:
    head = find_head("multi-sigmoid", 3, multi_label=True)
    weights = head.weights(LABELS, np.array([2, 3, 4], np.float32))
    assert weights.tolist() == [[2, 1, 1], [1, 3, 1], [2, 3, 1], [1.5, 1.5, 0]]
    smoothed = find_head("multi-sigmoid", 3, label_smoothing=0.1, multi_label=True).targets(LABELS, 3)
    assert smoothed[0].tolist() == pytest.approx([0.95, 0.05, 0.05])


def test_warnings_name_chance_and_silence_when_nothing_learned() -> None:
    random = np.random.default_rng(1)
    labels = (random.random((200, 3)) < 0.3).astype(np.int8)
    blind = dispatch.evaluate(np.full((200, 3), -1, np.float32), labels, NAMES, "test")
    chance, silence = sanity_checks.warnings_for(blind, weights="none", stage="top")
    assert "is within one standard error" in chance
    assert "it predicts no label for any image" in silence
    seeing = dispatch.evaluate(
        (4 * labels - 2 + random.normal(0, 1, labels.shape)).astype(np.float32), labels, NAMES, "test"
    )
    assert sanity_checks.warnings_for(seeing, weights="none", stage="top") == ()


def test_worst_decisions_begin_with_surest_when_labels_are_wrong() -> None:
    shares = dispatch.probabilities(LOGITS, multi_label=True)
    assert worst_decisions(LABELS, shares) == [(1, 1)]
    assert worst_decisions(1 - np.abs(LABELS), shares)[:2] == [(3, 2), (2, 0)]
