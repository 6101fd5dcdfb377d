"""Which results are captured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.device.app.captures.capture_settings import CaptureLimits, CaptureSettings
from toolkit.device.app.captures.policies import CapturePolicy, is_unsure
from toolkit.device.app.pipeline.messages import Classification, Frame


class Clock:
    """Seconds that pass only on request."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def result(
    label: str = "a", sure: float = 0.95, *, unknown: bool = False, labels: list[str] | None = None
) -> Classification:
    """Return a result of a model with the classes a and b."""
    other = "b" if label == "a" else "a"
    answer = np.array([sure, 1 - sure] if label == "a" else [1 - sure, sure], np.float32)
    return Classification(Frame(1, 0), [(label, sure), (other, 1 - sure)], labels, "c" * 64, 1.0, unknown, None, answer)


def policy(*names: str, clock: Clock | None = None, **limits: float) -> CapturePolicy:
    settings = CaptureSettings(Path("/nowhere"), CaptureLimits(**limits), names)  # type: ignore[arg-type]
    return CapturePolicy(settings, clock or Clock(), seed=1)


def test_unsure_takes_close_answers_only() -> None:
    chooses = policy("unsure", cool_down_s=0, margin=0.2)
    assert [chooses.choose(result(sure=sure)) for sure in (0.95, 0.61, 0.59)] == [None, None, "unsure"]


def test_unsure_means_near_one_half_for_several_labels() -> None:
    several = Classification(Frame(1, 0), [("a", 0.99), ("b", 0.55)], ["a", "b"], "c" * 64, 1.0)
    assert is_unsure(several, 0.2)
    assert not is_unsure(several, 0.05)


def test_one_class_is_never_unsure() -> None:
    assert not is_unsure(Classification(Frame(1, 0), [("a", 0.5)], None, "c" * 64, 1.0), 1.0)


def test_cool_down_is_each_policy_s_own() -> None:
    clock = Clock()
    chooses = policy("unsure", "unknown", clock=clock, cool_down_s=10)
    unsure, unknown = result(sure=0.5), result(sure=0.5, unknown=True)
    assert [chooses.choose(each) for each in (unsure, unsure, unknown)] == ["unsure", None, "unknown"]
    clock.now = 9.9
    assert chooses.choose(result(sure=0.5)) is None
    clock.now = 10
    assert chooses.choose(unsure) == "unsure"


def test_change_waits_until_the_other_class_is_held() -> None:
    chooses = policy("change", cool_down_s=0, change_frames=3)
    answers = [chooses.choose(result(label)) for label in "aaaabbabbbb"]
    assert answers == [None] * 9 + ["change", None]


def test_the_first_held_class_is_no_change() -> None:
    chooses = policy("change", cool_down_s=0, change_frames=1)
    assert [chooses.choose(result(label)) for label in "ab"] == [None, "change"]


def test_asked_takes_the_next_frame_once() -> None:
    chooses = policy("requested")
    assert chooses.ask()
    assert [chooses.choose(result()) for _ in range(2)] == ["requested", None]
    assert not policy("unsure").ask()


def test_random_is_fair_whatever_the_answer() -> None:
    """Every frame is as likely, also those that another policy wants, and there is no cool-down."""
    chooses = policy("random", "unsure", random_every=20, cool_down_s=10)
    taken = {0.5: 0, 0.99: 0}
    for number in range(40_000):
        sure = 0.5 if number % 2 else 0.99
        taken[sure] += chooses.choose(result(sure=sure)) == "random"
    assert all(abs(count - 1000) < 120 for count in taken.values())  # four standard deviations


@pytest.mark.parametrize("every", [1, 2])
def test_random_every_one_takes_all(every: int) -> None:
    chooses = policy("random", random_every=every)
    taken = sum(chooses.choose(result()) == "random" for _ in range(100))
    assert taken == 100 if every == 1 else 25 < taken < 75
