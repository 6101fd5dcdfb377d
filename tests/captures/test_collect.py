"""Collecting from devices behind real SSH servers: once, whole, resumed, and whatever part of the fleet is away."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.captured_image import CameraReading, NearDuplicate
from toolkit.artifacts.fleet import Device
from toolkit.captures import collected, image_path
from toolkit.captures.collect import CollectOptions, collect
from toolkit.cli.main import main
from toolkit.device.capture_transfer import CHUNK_BYTES, answer_request
from toolkit.errors import ExitCode, MachineError
from toolkit.fleet.transfer.stream import RateLimit
from toolkit.fleet.watch import CameraMeans, DeviceSample
from toolkit.store import Store
from toolkit.workspace import Workspace

from .conftest import Put, jpeg

DELETE = CollectOptions(delete=True)


@pytest.fixture
def store(workspace: Workspace) -> Store:
    return Store(workspace.database)


def on_device(device: Device) -> set[str]:
    return {path.stem for path in Path(device.root).glob("captures/*/*.json")}


def test_collect_stores_each_new_image_once(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put
) -> None:
    digests = {put(devices[0], 1), put(devices[1], 2, policy="random"), put(devices[1], 3)}
    assert put(devices[2], 1) in digests
    result = collect(devices, workspace, store)
    assert result.exit_code == ExitCode.DONE
    assert {capture.digest for capture in collected(store)} == digests
    for capture in collected(store):
        content = image_path(workspace, capture.digest).read_bytes()
        assert hashlib.sha256(content).hexdigest() == capture.digest
        assert capture.perceptual_hash is not None
    assert sum(done.stored for done in result.ok.values()) == 3
    assert sum(done.known for done in result.ok.values()) == 1
    again = collect(devices, workspace, store)
    assert all((done.stored, done.received_bytes) == (0, 0) for done in again.ok.values())
    assert sum(map(len, map(on_device, devices))) == 4
    assert not (workspace.root / "captures" / "parts").exists()


def test_collect_goes_on_when_devices_are_away(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put
) -> None:
    away = replace(devices[2], name="away", port=1)
    digest = put(devices[0], 1)
    result = collect((devices[0], away, devices[1]), workspace, store)
    assert [device.name for device in result.failed] == ["away"]
    assert result.exit_code == ExitCode.SOME_FAILED
    assert [capture.digest for capture in collected(store)] == [digest]


def test_near_duplicates_are_dropped_and_remembered(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put
) -> None:
    (device, *_) = devices
    first = put(device, jpeg(1))
    collect((device,), workspace, store)
    again = put(device, jpeg(1, quality=70))
    fair, requested = (
        put(device, jpeg(1, quality=71), policy="random"),
        put(device, jpeg(1, quality=72), policy="requested"),
    )
    (done,) = collect((device,), workspace, store).ok.values()
    assert (done.stored, done.near_duplicates, done.known) == (2, 1, 1)
    assert {capture.digest for capture in collected(store)} == {first, fair, requested}
    assert not image_path(workspace, again).exists()
    (duplicate,) = store.all(NearDuplicate)
    assert duplicate.digest == again
    assert duplicate.parent in {first, fair, requested}
    (done,) = collect((device,), workspace, store).ok.values()
    assert (done.known, done.received_bytes) == (4, 0)


def test_delete_removes_only_what_is_safe_here(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put
) -> None:
    (device, *_) = devices
    good, bad, damaged = put(device, 1), put(device, 2, policy="never"), put(device, 3)
    collect((device,), workspace, store)
    image_path(workspace, damaged).write_bytes(b"damaged here")
    (done,) = collect((device,), workspace, store, DELETE).ok.values()
    assert (done.deleted, done.refused) == (1, 1)
    assert on_device(device) == {bad, damaged}
    assert not [*Path(device.root).glob(f"captures/*/{good}*")]
    image_path(workspace, damaged).unlink()
    (done,) = collect((device,), workspace, store, DELETE).ok.values()
    assert (done.stored, done.deleted) == (1, 1)


def test_an_interrupted_image_is_continued(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put
) -> None:
    (device, *_) = devices
    content = jpeg(1, quality=100, size=1500)
    digest = put(device, content)
    assert len(content) > 2 * CHUNK_BYTES
    part = workspace.folder("captures", "parts") / digest
    part.write_bytes(content[: CHUNK_BYTES + 5])
    (done,) = collect((device,), workspace, store).ok.values()
    assert (done.stored, done.received_bytes) == (1, len(content) - CHUNK_BYTES - 5)
    assert image_path(workspace, digest).read_bytes() == content


@pytest.mark.slow
def test_a_killed_collect_is_continued(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put, write_inventory: Callable[..., Path]
) -> None:
    content = jpeg(1, quality=100, size=1500)
    digest = put(devices[0], content)
    part = workspace.root / "captures" / "parts" / digest
    argv = ["collect", "--fleet", "--inventory", write_inventory(devices[:1]), "--workspace", workspace.root]
    command = [sys.executable, "-m", "toolkit", *map(str, argv), "--bandwidth", "100k"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    had = part.stat().st_size
    assert 0 < had < len(content)
    (done,) = collect(devices[:1], workspace, store).ok.values()
    assert (done.stored, done.received_bytes) == (1, len(content) - had)
    assert image_path(workspace, digest).read_bytes() == content


@pytest.mark.parametrize("left", [b"other bytes", b"x" * 100_000])
def test_a_part_with_other_bytes_is_fetched_again(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put, left: bytes
) -> None:
    (device, *_) = devices
    digest = put(device, 1)
    (workspace.folder("captures", "parts") / digest).write_bytes(left)
    away = replace(device, name="away", port=1)  # a device that fails leaves the parts for the next call
    first = collect((device, away), workspace, store).ok[device]
    second = collect((device, away), workspace, store).ok[device]
    assert first.stored + second.stored == 1
    assert image_path(workspace, digest).is_file()


def test_hostile_captures_are_refused_and_others_stored(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put
) -> None:
    (device, *_) = devices
    good = put(device, 1)
    put(device, b"not an image")
    put(device, 2, camera="\u001b[2J")
    changed = put(device, 3)
    day = Path(device.root) / "captures" / "2026-11-30"
    (day / f"{changed}.jpg").write_bytes(jpeg(4))
    linked = day / f"{'0' * 64}.jpg"
    linked.symlink_to("/etc/passwd")
    linked.with_suffix(".json").write_text("{}")
    (done,) = collect((device,), workspace, store).ok.values()
    assert (done.stored, done.refused, len(done.reasons)) == (1, 3, 3)
    assert [capture.digest for capture in collected(store)] == [good]
    assert {path.name for path in (workspace.root / "captures").glob("*.jpg")} == {f"{good}.jpg"}


def test_device_end_reads_captures_only(tmp_path: Path) -> None:
    request = {"do": "read", "day": "2026-11-30", "digest": "0" * 64, "suffix": ".jpg", "offset": 0}
    (tmp_path / "2026-11-30").mkdir()
    assert answer_request(tmp_path, request)["gone"]
    for wrong in ({"day": ".."}, {"digest": "../x"}, {"suffix": "/../../x"}):
        assert answer_request(tmp_path, {**request, **wrong})["error"] == "ValueError: is not a capture"
    (tmp_path / "2026-11-30" / f"{'0' * 64}.jpg").symlink_to("/etc/passwd")
    assert not answer_request(tmp_path, request)["ok"]
    os.mkfifo(tmp_path / "2026-11-30" / f"{'1' * 64}.jpg")
    assert "regular file" in answer_request(tmp_path, {**request, "digest": "1" * 64})["error"]
    assert answer_request(tmp_path / "none", {"do": "list"}) == {"ok": True, "captures": []}


@pytest.mark.slow
def test_bandwidth_is_limited(devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put) -> None:
    for seed in range(4):
        put(devices[0], jpeg(seed, quality=100, size=200))
    size = sum(path.stat().st_size for path in Path(devices[0].root).glob("captures/*/*"))
    limit = RateLimit(size / 2)
    began = time.monotonic()
    (done,) = collect(devices[:1], workspace, store, CollectOptions(bandwidth=limit)).ok.values()
    assert done.stored == 4
    assert time.monotonic() - began > 1.5  # base64 makes it 2.7 s; the last part need not be waited for


def test_one_collect_at_a_time(devices: tuple[Device, ...], workspace: Workspace, store: Store, put: Put) -> None:
    import fcntl

    put(devices[0], 1)
    with (workspace.folder("captures") / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MachineError, match="another `toolkit collect`"):
            collect(devices, workspace, store)
    assert collect(devices, workspace, store).exit_code == ExitCode.DONE


@pytest.mark.slow
def test_verb_prints_rows_and_json(
    devices: tuple[Device, ...],
    workspace: Workspace,
    put: Put,
    write_inventory: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    put(devices[0], 1)
    away = replace(devices[1], name="away", port=1)
    inventory = write_inventory((devices[0], away))
    argv = ["collect", "--inventory", str(inventory), "--workspace", str(workspace.root)]
    with pytest.raises(SystemExit) as caught:
        main([*argv, "--fleet", "--json", "--delete"])
    document = json.loads(capfd.readouterr().out)
    assert caught.value.code == ExitCode.SOME_FAILED
    row, failed = document["devices"]
    assert (row["device"], row["stored"], row["deleted"]) == (devices[0].name, 1, 1)
    assert (failed["device"], document["failed"]) == ("away", 1)
    with pytest.raises(SystemExit) as caught:
        main([*argv, "--limit", devices[0].name])
    assert caught.value.code == ExitCode.DONE
    assert "near duplicates" in capfd.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == ExitCode.USAGE


def test_collect_records_what_drift_detection_says(
    devices: tuple[Device, ...], workspace: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = CameraMeans(frames=50, means={"brightness": 9.0}, classes={"dark": 1.0})
    known = DeviceSample(
        device=devices[0].name, release="r", name="n", camera=camera, drift=("sharpness",), drift_learned=1
    )
    samples = {devices[0].name: known, devices[1].name: DeviceSample(device=devices[1].name, release="r")}
    monkeypatch.setattr("toolkit.captures.collect.read_sample", lambda device, _: samples[device.name])
    assert not collect(devices[:2], workspace, store).errors
    (reading,) = store.all(CameraReading)
    assert (reading.device, reading.parent, reading.frames, reading.raised) == (
        devices[0].name,
        "r",
        50,
        ("sharpness",),
    )
