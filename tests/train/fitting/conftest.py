"""Logits with labels whose calibration is known."""

from __future__ import annotations

import numpy as np

from toolkit.train.metrics import dispatch


def drawn(count: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of 4 classes whose probabilities are right at the temperature `sharpness`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 4)) * 2
    shares = dispatch.probabilities(logits, multi_label=False)
    labels = np.array([rng.choice(4, p=row) for row in shares])
    return (logits * sharpness).astype(np.float32), labels
