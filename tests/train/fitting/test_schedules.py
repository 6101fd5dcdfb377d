from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from toolkit.artifacts.model import Epoch
from toolkit.errors import ConfigurationError
from toolkit.experiment import lr_schedules
from toolkit.experiment.load import load_experiment
from toolkit.experiment.training_schema import StageConfig
from toolkit.train.fitting.loop import FitConfig

if TYPE_CHECKING:
    from conftest import Bench


def training_state(schedule: lr_schedules.Schedule, losses: Sequence[float], epochs: int) -> list[float]:
    return [schedule.share(losses[:done], epochs) for done in range(epochs)]


def test_step_divides_by_ten_when_each_third_is_over() -> None:
    assert training_state(lr_schedules.Step(), [1.0] * 9, 9) == pytest.approx(
        [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    )


def test_exponential_is_the_textbooks_when_an_epoch_is_a_step() -> None:
    assert training_state(lr_schedules.Exponential(rate=0.5, every=2), [1.0] * 4, 4) == pytest.approx(
        [1, 0.5**0.5, 0.5, 0.5**1.5]
    )


def test_exponential_is_the_textbooks_when_batches_are_its_steps() -> None:
    schedule = lr_schedules.Exponential(rate=0.5, decay_steps=4)
    assert [schedule.share_at(steps, 5) for steps in (0, 2, 4, 10)] == pytest.approx([1, 0.5**0.5, 0.5, 0.5**2.5])
    assert training_state(schedule, [1.0] * 3, 3) == [1, 1, 1]
    assert "decay_steps" not in lr_schedules.Exponential(rate=0.5).model_dump()
    with pytest.raises(ValueError, match="set one of them"):
        lr_schedules.Exponential(every=2, decay_steps=4)


@pytest.mark.parametrize("done", [0, 1])
def test_paced_sets_rate_of_each_step_when_it_falls_by_steps(done: int) -> None:
    stage = StageConfig(name="top", learning_rate=0.1, schedule=lr_schedules.Exponential(rate=0.5, decay_steps=2))
    plan = FitConfig("top", stage, 8, 0, Path("checkpoint.npz"), on_epoch_end=lambda _: None)
    optimizer, seen = SimpleNamespace(rate=0.0), list[float]()
    optimizer.set_rate = lambda rate: setattr(optimizer, "rate", rate)
    epochs = [
        Epoch(
            stage="top",
            number=1,
            loss=1.0,
            accuracy=0.5,
            val_loss=1.0,
            val_accuracy=0.5,
            seconds=1.0,
            learning_rate=0.1,
        )
    ][:done]
    step = plan.with_lr_schedule(lambda: seen.append(optimizer.rate), optimizer, epochs, 3)
    for _ in range(3):
        step()
    assert seen == pytest.approx([0.1 * 0.5 ** ((3 * done + number) / 2) for number in range(3)])
    assert plan.learning_rate(epochs, 3 * done, 3) == seen[0]


def test_cosine_ends_near_its_floor_when_all_epochs_are_done() -> None:
    result = training_state(lr_schedules.Cosine(floor=0.1), [1.0] * 4, 4)
    assert result == pytest.approx(
        [1, 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2, 0.55, 0.1 + 0.9 * (1 - math.sqrt(0.5)) / 2]
    )


def test_plateau_falls_to_floor_when_patience_is_over() -> None:
    losses = [3.0, 2.0, 2.5, 2.0, 1.0, 1.5, 1.5, 1.5, 1.5]
    result = training_state(lr_schedules.Plateau(factor=0.1, patience=2, floor=0.005), losses, 10)
    assert result == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.005])


def test_constant_stays_when_epochs_go_by() -> None:
    assert training_state(lr_schedules.Constant(), [1.0, 2.0], 3) == [1, 1, 1]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"step"', lr_schedules.Step()),
        ('{ kind = "step", at = [0.5] }', lr_schedules.Step(at=(0.5,))),
        ('{ kind = "plateau", patience = 1 }', lr_schedules.Plateau(patience=1)),
    ],
)
def test_load_reads_a_schedule_when_named_or_written_out(
    written: str, expected: lr_schedules.Schedule, bench: Bench
) -> None:
    bench.change("learning_rate = 0.003", f"schedule = {written}")
    bench.change("head_rate = 1", f"head_rate = 1\n[networks.tiny.stages.top]\nschedule = {written}")
    top, tuned = next(load_experiment(bench.file).trials()).stages
    assert (top.schedule, tuned.schedule) == (expected, expected)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate = 0.01", 'schedule = "linear"', "does not match any of the expected tags"),
        ("learning_rate = 0.01", 'schedule = { kind = "step", rate = 0.5 }', "stages.0.schedule.step.rate"),
        ("learning_rate = 0.01", "learning_rate = inf", "finite"),
        ("learning_rate = 0.01", "learning_rate = nan", "finite"),
        ("learning_rate = 0.01", 'from_layer = "relu"', "from_layer applies to fine-tune"),
        ("[train]", '[networks.tiny.stages.top]\nbatch_norm = "training"\n[train]', "batch_norm applies to fine-tune"),
        ("[train]", '[train]\nloss = "categorical"', 'does not fit the head "sigmoid": one sigmoid unit'),
        (
            "[train]",
            '[train]\nlabel_smoothing = 0.1\nloss = { softmax = "sparse-categorical" }',
            "takes the label alone",
        ),
        ("[train]", '[train]\nloss = "hinge"', "train.loss.sigmoid"),
        ("[train]", "[train]\ndropout = 1.0", "train.dropout"),
        ("[train]", '[train]\nclass_weights = "even"', "train.class_weights"),
        ("[train]", "[train]\nclass_weights = { red = inf }", "train.class_weights"),
    ],
)
def test_load_refuses_with_the_place_when_a_setting_cannot_be(old: str, new: str, message: str, bench: Bench) -> None:
    bench.change(old, new)
    with pytest.raises(ConfigurationError, match=message):
        load_experiment(bench.file)


def test_trial_leaves_out_what_is_unset_when_it_is_written(bench: Bench) -> None:
    written = next(load_experiment(bench.file).trials()).model_dump(mode="json")
    assert {"reject", "scaling", "loss", "dropout", "precision"}.isdisjoint(written)
    assert "from_layer" not in written["stages"][0]


@pytest.mark.parametrize(
    "schedule", [lr_schedules.Constant(warmup=2), lr_schedules.Exponential(decay_steps=10, warmup=2)]
)
def test_rate_rises_step_by_step_when_there_is_a_warm_up(schedule: lr_schedules.Schedule) -> None:
    plain = schedule.model_copy(update={"warmup": 0})
    shares = [schedule.share_at(step, 5) / plain.share_at(step, 5) for step in range(12)]
    assert schedule.by_step
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1])
