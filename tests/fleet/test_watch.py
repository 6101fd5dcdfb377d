from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet.ssh.shell import LocalShell
from toolkit.fleet.watch import APP, STATE_FILE, DeviceSample, Watch, ago, parse_sample, poll, read_sample


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v1/state" else 401)
        self.end_headers()
        self.wfile.write(b'{"fps": 24.5, "problem": null}' if self.path == "/v1/state" else b"who are you")

    def log_message(self, *argv: object) -> None:
        """Quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Device:
    """A device that serves a release, as a folder of this machine."""
    release = tmp_path / "releases" / ("a" * 64)
    release.mkdir(parents=True)
    (release / "manifest.json").write_text('{"name": "tiny-softmax-top-fp32"}')
    (tmp_path / "current").symlink_to(f"releases/{'a' * 64}")
    return Device(name="folder", host="localhost", root=str(tmp_path), python=sys.executable)


def test_ask_tells_release_readings_and_what_the_service_says(folder: Device, service: str) -> None:
    device = dataclasses.replace(folder, variables={APP: service})
    seen = read_sample(device, LocalShell(device))
    assert (seen.release, seen.name, seen.fps, seen.app) == ("a" * 64, "tiny-softmax-top-fp32", 24.5, "well")
    assert seen.load_1min is not None
    assert (seen.problem, ago(seen.seen)) == (None, "now")


def test_read_sample_prefers_the_apps_state_file(folder: Device, service: str) -> None:
    file = Path(folder.root) / "app.json"
    file.write_text('{"fps": 7.25, "problem": "no camera: gone"}')
    device = dataclasses.replace(folder, variables={APP: service, STATE_FILE: str(file)})
    seen = read_sample(device, LocalShell(device))
    assert (seen.fps, seen.app) == (7.25, "no camera: gone")


def test_sample_names_what_drifted_and_counts_captures(folder: Device) -> None:
    sample = parse_sample(folder, {"app": {"drift": {"raised": ["sharpness"]}, "captures": {"held": 12}}})
    assert (sample.drift, sample.captures) == (("sharpness",), 12)
    for app in ({}, {"drift": None, "captures": None}, {"drift": [], "captures": {"held": "x"}}):
        sample = parse_sample(folder, {"app": app})
        assert (sample.drift, sample.captures) == (None, None)


def test_ask_goes_on_when_the_app_says_nothing(folder: Device, service: str) -> None:
    for address, app in (
        (f"{service}/elsewhere", "Unauthorized"),
        ("http://127.0.0.1:1", "[Errno 111] Connection refused"),
    ):
        device = dataclasses.replace(folder, variables={APP: address})
        seen = read_sample(device, LocalShell(device))
        assert (seen.release, seen.fps, seen.app) == ("a" * 64, None, app)
    assert parse_sample(folder, {"app": None, "app_error": "refused"}).app is None  # nobody said that one runs there


def test_read_sample_answers_on_a_bare_device(tmp_path: Path) -> None:
    bare = Device(name="bare", host="localhost", root=str(tmp_path / "none"), python="/no/such/python")
    seen = read_sample(bare, LocalShell(bare))
    assert (seen.release, seen.name, seen.app) == (None, None, None)


@pytest.mark.parametrize(
    ("bits", "expected"), [(None, ""), (0, "no"), (0x50000, "since boot"), (0x50005, "now"), (0x1, "now")]
)
def test_throttle_says_now_before_since_boot(bits: int | None, expected: str) -> None:
    assert parse_sample(Device(name="a", host="a"), {"throttled": bits}).throttle == expected


def test_watch_keeps_what_a_silent_device_said_last() -> None:
    one, two = Device(name="one", host="one"), Device(name="two", host="two")
    silent: set[str] = {"two"}

    def poll_device(device: Device) -> DeviceSample:
        if device.name in silent:
            raise FleetError("does not answer", where=device.name)
        return DeviceSample(device=device.name, release="r", fps=9.0, seen="2026-11-22T06:00:00+00:00")

    watch = Watch((one, two), poll=poll_device)
    first, second = watch.round()
    assert (first.problem, second.problem, second.seen) == (None, "does not answer", None)
    silent.clear()
    assert [each.problem for each in watch.round()] == [None, None]
    silent.add("one")
    first, _ = watch.round()
    assert (first.release, first.fps, first.seen) == ("r", None, "2026-11-22T06:00:00+00:00")


@pytest.mark.parametrize(("seconds", "expected"), [(0, "now"), (40, "40 s ago"), (200, "3 min ago"), (7200, "2 h ago")])
def test_ago_is_in_words(seconds: int, expected: str) -> None:
    assert ago("1970-01-01T00:00:00+00:00", now=seconds) == expected
    assert ago(None) == "never"


def test_glance_looks_at_a_device_over_ssh(devices: tuple[Device, ...]) -> None:
    seen = poll(devices[0])
    assert (seen.device, seen.release, seen.problem) == (devices[0].name, None, None)


def command(inventory: Path, *argv: str) -> list[str]:
    program = str(Path(sys.executable).with_name("toolkit"))
    return [program, "fleet", "watch", "--inventory", str(inventory), *argv]


@pytest.mark.slow
def test_toolkit_fleet_watch_prints_one_look_when_asked_once(
    devices: tuple[Device, ...], write_inventory: Callable[..., Path]
) -> None:
    gone = dataclasses.replace(devices[2], port=1)
    argv = command(write_inventory((devices[0], devices[1], gone)), "--once")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.count("nothing") == 3
    assert "never: " in done.stdout
    as_json = subprocess.run([*argv, "--json"], capture_output=True, text=True, check=False)
    assert [bool(each["problem"]) for each in json.loads(as_json.stdout)["devices"]] == [False, False, True]


@pytest.mark.slow
def test_fleet_watch_prints_lines_until_interrupted(
    devices: tuple[Device, ...], write_inventory: Callable[..., Path]
) -> None:
    argv = command(write_inventory(devices[:1]), "--every", "0.2", "--json")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        polls = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(2)
        assert process.wait(60) == 130
    assert [poll["devices"][0]["device"] for poll in polls] == [devices[0].name] * 2
    assert polls[0]["at"] < polls[1]["at"]
