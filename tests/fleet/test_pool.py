from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.errors import ExitCode, FleetError, Problem
from toolkit.fleet import connect, fan_out

DEVICES = tuple(Device(name=f"pi-{number}", host="nowhere") for number in range(20))


def test_fan_out_keeps_every_outcome_in_order_when_some_fail() -> None:
    def work(device: Device) -> int:
        number = int(device.name.removeprefix("pi-"))
        time.sleep((20 - number) / 1000)
        if number == 3:
            raise FleetError("no room", where="pi-3", remedy="make some")
        if number == 7:
            raise ZeroDivisionError("a bug")
        return number

    result = fan_out(DEVICES, work, limit=8)
    assert list(result.ok.values()) == [number for number in range(20) if number not in {3, 7}]
    assert result.exit_code is ExitCode.SOME_FAILED
    assert result.failed[DEVICES[3]] == Problem("no room", "pi-3", "make some")
    assert result.failed[DEVICES[7]].what == "ZeroDivisionError: a bug"
    assert isinstance(result.errors[DEVICES[7]], ZeroDivisionError)


def test_fan_out_reports_every_problem_of_a_device() -> None:
    def work(device: Device) -> None:
        raise FleetError.from_problems([Problem("one", device.name, "a"), Problem("two", "its disk", "b")])

    assert fan_out(DEVICES[:1], work).failed[DEVICES[0]] == Problem("one; its disk: two", "pi-0", "a; b")


def test_fan_out_is_done_when_there_is_nothing_to_do() -> None:
    assert fan_out((), str).exit_code is ExitCode.DONE


def test_fan_out_runs_no_more_at_once_than_the_limit() -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def work(device: Device) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02)
        with lock:
            busy -= 1

    fan_out(DEVICES, work, limit=3)
    assert most == 3


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, whatever the test runner or an earlier test left for it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_fan_out_hangs_up_and_starts_no_more_when_interrupted(devices: tuple[Device, ...]) -> None:
    many = tuple(replace(devices[n % 3], name=f"name-{n}") for n in range(9))
    started: list[str] = []
    ended: dict[str, str] = {}
    all_busy = threading.Barrier(3)

    def work(device: Device) -> None:
        with connect(device) as shell:
            started.append(device.name)
            if all_busy.wait() == 0:
                os.kill(os.getpid(), signal.SIGINT)
            try:
                shell.run("sleep 60")
            except FleetError as error:
                ended[device.name] = error.problems[0].what

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fan_out(many, work, limit=3)
    assert time.monotonic() - begun < 30
    assert sorted(started) == ["name-0", "name-1", "name-2"]
    assert set(ended) == set(started)
