"""The JSON of a capture is read as hostile input."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toolkit.device.capture_record import CaptureRecord, is_day, read_record

RECORD = CaptureRecord(
    digest="ab" * 32,
    release="cd" * 32,
    camera="/dev/video0",
    time="2026-11-30T10:00:00+00:00",
    policy="unsure",
    label="mask, blue",
    confidence=0.6,
    probabilities=(0.6, 0.4),
    score=0.33,
    clock_synchronized=True,
)


def content(**changes: Any) -> bytes:
    """Return the JSON of RECORD with other values."""
    return json.dumps({**json.loads(RECORD.to_json()), **changes}).encode()


def test_record_survives_writing_and_reading() -> None:
    assert read_record(RECORD.to_json(), RECORD.digest) == RECORD
    assert json.loads(RECORD.to_json())["class"] == "mask, blue"
    assert RECORD.seconds() == 1_796_032_800


def test_time_is_converted_to_utc() -> None:
    moved = read_record(content(time="2026-11-30T12:00:00+02:00"), RECORD.digest)
    assert moved.time == read_record(content(time="2026-11-30T10:00:00Z"), RECORD.digest).time == RECORD.time


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": 2}, "schema"),
        ({"extra": 1}, "extra"),
        ({"digest": "AB" * 32}, "digest"),
        ({"digest": "ab" * 31 + "/."}, "digest"),
        ({"release": ""}, "release"),
        ({"camera": "\u001b[2J"}, "camera"),
        ({"class": ["mask"]}, "class"),
        ({"class": "x" * 1025}, "class"),
        ({"policy": ["unsure"]}, "policy"),
        ({"time": "2026-11-30T10:00:00"}, "time"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time"),
        ({"time": 5}, "time"),
        ({"probabilities": {}}, "probabilities"),
        ({"probabilities": []}, "probabilities"),
        ({"probabilities": [True, 0.4]}, "probabilities"),
        ({"probabilities": [10**400, 0.4]}, "probabilities"),
        ({"confidence": -0.1}, "confidence"),
        ({"confidence": "0.5"}, "confidence"),
        ({"score": 1.5}, "score"),
        ({"clock_synchronized": 1}, "clock_synchronized"),
    ],
)
def test_reader_refuses_a_field_that_is_not_valid(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_record(content(**changes), RECORD.digest)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"\xff", b"[" * 100_000, b'{"score": NaN}', content()[:-1], content(camera="x" * (1 << 20))],
)
def test_reader_refuses_what_is_no_record(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_record(text, RECORD.digest)


def test_folders_of_days_are_told_from_others() -> None:
    assert is_day("2026-11-30")
    assert not any(map(is_day, ("..", "2026-11-3", "2026-11-30/..", "\uff12026-11-30")))
