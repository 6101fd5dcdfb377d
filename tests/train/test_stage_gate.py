from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.artifacts.model import ValidationResult
from toolkit.train.stage_gate import withhold_reason

if TYPE_CHECKING:
    from conftest import Bench

    from toolkit.workspace import Workspace


def result(loss: float, right: int) -> ValidationResult:
    return ValidationResult(
        temperature=1.0, loss=loss, uncalibrated_loss=loss, correct=(True,) * right + (False,) * (100 - right)
    )


def before(loss: float, right: int) -> Any:
    return SimpleNamespace(stage="top", validation=result(loss, right))


@pytest.mark.parametrize(
    ("loss", "right", "withheld"),
    [
        (0.4, 80, False),  # better in both
        (0.6, 80, True),  # a higher loss
        (0.6, 95, False),  # a higher loss, and significantly more are right
        (0.4, 60, True),  # a lower loss, and significantly fewer are right
        (0.4, 78, False),  # a lower loss, and a difference that may be chance
    ],
)
def test_stage_is_withheld_when_it_ends_below(loss: float, right: int, *, withheld: bool) -> None:
    reason = withhold_reason(before(0.5, 80), "fine-tune", result(loss, right))
    assert bool(reason) == withheld


def test_first_stage_is_always_offered() -> None:
    assert withhold_reason(None, "top", result(9.0, 0)) == ""


@pytest.mark.slow
def test_train_trial_withholds_a_stage_that_destroys_the_model(bench: Bench, workspace: Workspace) -> None:
    bench.change("[train]", '[train]\noffer = "improved"')
    bench.change("learning_rate = 0.003", 'optimizer = "sgd"\nlearning_rate = 30')
    bench.change("epochs = 3\nlearning_rate = 0.01", "epochs = 20\nlearning_rate = 0.05")
    top, tuned = bench.train(workspace)
    assert not top.withheld
    assert "fine-tune ended below top" in tuned.withheld
    assert f"not offered: {tuned.withheld}" in tuned.warnings
