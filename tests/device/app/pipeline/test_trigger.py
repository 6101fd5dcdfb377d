from __future__ import annotations

import cv2
import numpy as np
import pytest

from toolkit.device.app.pipeline.messages import Frame
from toolkit.device.app.pipeline.trigger import Trigger, TriggerSettings

SECOND = 10**9
RATE = 10


def scene(seed: int = 0, *, square: tuple[int, int] | None = None, light: float = 1.0) -> np.ndarray:
    """A still room of 640 x 360 pixels with a camera's noise, and perhaps something in it, 64 pixels wide."""
    room = cv2.resize(np.random.default_rng(7).integers(40, 200, (9, 16, 3), np.uint8), (640, 360))
    if square:
        room[square[1] : square[1] + 64, square[0] : square[0] + 64] = 250
    noise = np.random.default_rng(seed).normal(0, 6, room.shape)
    return np.clip(room * light + noise, 0, 255).astype(np.uint8)


def wanted_of(trigger: Trigger, images: list[np.ndarray], *, compressed: bool = False, start: int = 0) -> list[bool]:
    answers = []
    for number, image in enumerate(images, start):
        captured_ns = number * SECOND // RATE + SECOND
        jpeg = bytes(cv2.imencode(".jpg", image)[1]) if compressed else None
        answers.append(trigger.wants(Frame(number, captured_ns, jpeg=jpeg, pixels=None if jpeg else image)))
    return answers


@pytest.mark.parametrize("compressed", [False, True])
def test_a_still_room_costs_one_frame_and_motion_is_seen(compressed: bool) -> None:
    trigger = Trigger(TriggerSettings(motion=0.01, hold_s=0.5))
    still = wanted_of(trigger, [scene(seed) for seed in range(40)], compressed=compressed)
    assert still == [True] + 5 * [True] + 34 * [False]  # the first frame, and the half second after it
    entering = [scene(seed, square=(40 * (seed - 40), 100)) for seed in range(40, 50)]
    assert all(wanted_of(trigger, entering, compressed=compressed, start=40))


@pytest.mark.slow
def test_what_stays_becomes_part_of_the_scene() -> None:
    trigger = Trigger(TriggerSettings(motion=0.01, hold_s=0.1))
    wanted_of(trigger, [scene(seed) for seed in range(40)])
    parked = wanted_of(trigger, [scene(seed, square=(300, 100)) for seed in range(40, 240)], start=40)
    assert parked[0]
    assert not any(parked[150:])


@pytest.mark.slow
def test_light_that_changes_slowly_is_no_motion() -> None:
    trigger = Trigger(TriggerSettings(motion=0.01, hold_s=0.1))
    dawn = wanted_of(trigger, [scene(seed, light=0.8 + seed / 3000) for seed in range(600)])
    assert sum(dawn) <= 3


def test_motion_counts_in_the_region_alone() -> None:
    trigger = Trigger(TriggerSettings(motion=0.01, hold_s=0.1, region=[0.5, 0, 1, 1]))
    wanted_of(trigger, [scene(seed) for seed in range(30)])
    assert not any(wanted_of(trigger, [scene(s, square=(10 * (s - 30), 100)) for s in range(30, 50)], start=30))
    assert any(wanted_of(trigger, [scene(s, square=(400, 100)) for s in range(50, 55)], start=50))


def test_an_interval_needs_no_motion() -> None:
    trigger = Trigger(TriggerSettings(interval_s=1.0))
    assert wanted_of(trigger, 40 * [scene()]) == 4 * ([True] + 9 * [False])


def test_a_damaged_frame_is_left_to_the_decoder() -> None:
    trigger = Trigger(TriggerSettings(motion=0.01, hold_s=0))
    assert trigger.wants(Frame(1, SECOND, jpeg=b"\xff\xd8 no image"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (TriggerSettings(), "motion or interval_s: is missing"),
        (TriggerSettings(motion=2), "motion: 2 is not a part of the image from 0 to 1"),
        (TriggerSettings(motion=0.1, hold_s=-1), "hold_s: -1 is not from 0 to 86400 seconds"),
        (TriggerSettings(motion=0.1, region=[1, 2]), "region: [1, 2] is not [left, top, right, bottom]"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: TriggerSettings, problem: str) -> None:
    assert list(settings.problems()) == [problem]
