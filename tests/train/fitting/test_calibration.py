from __future__ import annotations

import pytest

from tests.train.fitting.conftest import drawn
from toolkit.train.fitting import calibration


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_fit_temperature_finds_how_sharp_logits_are(sharpness: float) -> None:
    logits, labels = drawn(4000, sharpness)
    assert calibration.fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.1)
