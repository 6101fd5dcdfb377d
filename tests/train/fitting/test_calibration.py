from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.train.fitting import calibration
from toolkit.train.metrics import dispatch


def drawn(count: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of 4 classes whose probabilities are right at the temperature `sharpness`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 4)) * 2
    shares = dispatch.probabilities(logits, multi_label=False)
    labels = np.array([rng.choice(4, p=row) for row in shares])
    return (logits * sharpness).astype(np.float32), labels


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_fit_temperature_finds_how_sharp_logits_are(sharpness: float) -> None:
    logits, labels = drawn(4000, sharpness)
    assert calibration.fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.1)


def test_fit_rejection_holds_its_error_on_new_images() -> None:
    logits, labels = drawn(4000, 3.0)
    rule = calibration.fit_rejection(logits, labels, 0.1, 3.0)
    new_logits, new_labels = drawn(4000, 3.0, seed=1)
    shares = dispatch.probabilities(new_logits / rule.temperature, multi_label=False)
    given_answer = shares.max(axis=1) >= rule.threshold
    error = float(np.mean(shares.argmax(axis=1)[given_answer] != new_labels[given_answer]))
    assert 0.07 < error < 0.13
    assert rule.coverage == pytest.approx(given_answer.mean(), abs=0.05)


@pytest.mark.parametrize(("count", "threshold", "coverage"), [(23, 1.0, 0.0), (24, 0.0, 1.0)])
def test_fit_rejection_needs_enough_images_for_its_error(count: int, threshold: float, coverage: float) -> None:
    logits, labels = np.tile([3.0, 0.0], (count, 1)), np.zeros(count, int)
    rule = calibration.fit_rejection(logits, labels, 0.02, 1.0)
    assert (rule.threshold, rule.coverage) == (threshold, coverage)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.floats(0.01, 0.5))
def test_rejection_is_never_wrong_more_often_than_asked(seed: int, count: int, error: float) -> None:
    logits, labels = drawn(count, 1.0, seed)
    rule = calibration.fit_rejection(logits, labels, error, 1.0)
    shares = dispatch.probabilities(logits, multi_label=False)
    answered = shares.max(axis=1) >= rule.threshold
    assert answered.mean() == pytest.approx(rule.coverage)
    assert (shares.argmax(axis=1) != labels)[answered].sum() <= error * max(answered.sum(), 1)
