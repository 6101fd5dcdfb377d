from __future__ import annotations

import numpy as np
import pytest

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
