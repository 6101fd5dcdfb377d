from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace

from toolkit.artifacts.fleet import Device
from toolkit.errors import ExitCode, FleetError, Problem
from toolkit.fleet import fan_out

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


INTERRUPTED = """
import json, os, pickle, signal, sys, threading
from toolkit.errors import FleetError
from toolkit.fleet import connect, fan_out

signal.signal(signal.SIGINT, signal.default_int_handler)
started, ended, all_busy = [], {}, threading.Barrier(3)

def work(device):
    with connect(device) as shell:
        started.append(device.name)
        if all_busy.wait() == 0:
            os.kill(os.getpid(), signal.SIGINT)
        try:
            shell.run("sleep 60")
        except FleetError as error:
            ended[device.name] = error.problems[0].what

try:
    fan_out(pickle.load(sys.stdin.buffer), work, limit=3)
except KeyboardInterrupt:
    print(json.dumps([started, ended]))
"""


def test_fan_out_hangs_up_and_starts_no_more_when_interrupted(devices: tuple[Device, ...]) -> None:
    """In a process of its own: SIGINT sent to a worker of pytest-xdist ended the worker now and then."""
    many = tuple(replace(devices[n % 3], name=f"name-{n}") for n in range(9))
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, input=pickle.dumps(many), stdout=subprocess.PIPE, check=True, timeout=240)
    started, ended = json.loads(done.stdout)
    assert sorted(started) == ["name-0", "name-1", "name-2"]
    assert set(ended) == set(started)
