from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from toolkit.artifacts.model import Epoch
from toolkit.errors import DataError
from toolkit.train import sanity_checks
from toolkit.train.metrics import multiclass

GOOD = multiclass.evaluate(np.eye(2)[[0] * 5 + [1] * 5] * 9.0, np.array([0] * 5 + [1] * 5), ("a", "b"), "test")


def epochs(losses: Sequence[float]) -> list[Epoch]:
    return [
        Epoch(
            stage="top", number=number, loss=0.1, accuracy=1, val_loss=loss, val_accuracy=1, seconds=1, learning_rate=1
        )
        for number, loss in enumerate(losses, 1)
    ]


def test_warnings_for_name_causes_when_validation_loss_rises() -> None:
    (warning,) = sanity_checks.warnings_for(GOOD, weights="imagenet", stage="top", history=epochs([0.5, 0.6, 0.61]))
    assert "the validation loss only rises, from 0.5000 to 0.6100 in 3 epochs" in warning
    assert all(cause in warning for cause in sanity_checks.RISING_CAUSES)


@pytest.mark.parametrize("losses", [[0.5, 0.6], [0.5, 0.4, 0.6, 0.7], [0.5, 0.6, 0.6]])
def test_warnings_for_is_silent_when_loss_fell_or_epochs_are_few(losses: Sequence[float]) -> None:
    assert sanity_checks.warnings_for(GOOD, weights="imagenet", stage="top", history=epochs(losses)) == ()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_refuse_no_number_names_the_causes_when_the_loss_is_none(loss: float) -> None:
    with pytest.raises(DataError, match="validation loss is no longer a number in epoch 3") as caught:
        sanity_checks.raise_on_nan(loss, "validation loss", 3, "mobilenet-softmax top")
    assert all(cause in str(caught.value) for cause in sanity_checks.NO_NUMBER_CAUSES)
