"""What goes wrong on devices behind real SSH servers; each test's marker is a row of docs/reliability.md."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest

from toolkit import hashing
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.fleet import Device
from toolkit.bundle.release import release_tree
from toolkit.bundle.signing import sign_bundle
from toolkit.deploy import (
    REQUIRED_GATES,
    HealthGate,
    RolloutResult,
    SpeedGate,
    Strategy,
    deploy,
    load_baselines,
    session,
)
from toolkit.deploy.lock import device_lock, rollout_lock
from toolkit.errors import FleetError
from toolkit.fleet import connect
from toolkit.store import Store
from toolkit.workspace import Workspace

pytestmark = pytest.mark.slow

Devices = tuple[Device, ...]


class Aftermath(Protocol):
    def hold(
        self, devices: Devices, old: Path | None, new: Path, message: object, heal: Callable[[], object]
    ) -> None: ...


@dataclass(frozen=True)
class Scene:
    """Devices that serve `old`, and a rollout of `new` that is to go wrong."""

    devices: Devices
    old: Path
    new: Path

    def deploy(self, *devices: Device, **options: object) -> RolloutResult:
        return deploy(self.new, devices or self.devices, **options)  # type: ignore[arg-type]


@pytest.fixture
def scene(devices: Devices, serving: Callable[..., Devices], bundle: Path, other_bundle: Path) -> Scene:
    return Scene(serving(*devices), bundle, other_bundle)


@pytest.fixture
def lone(devices: Devices, serving: Callable[..., Devices], bundle: Path, other_bundle: Path) -> Scene:
    """The same with one device."""
    return Scene(serving(devices[0]), bundle, other_bundle)


@pytest.mark.fault("the golden images are answered wrongly on the canary", serves="old", reports="golden check failed")
def test_deploy_starts_nobody_else_when_the_canary_fails(
    scene: Scene, make_bundle: Callable[..., Path], aftermath: Aftermath
) -> None:
    wrong = make_bundle("wrong", golden_shift=0.2)
    result = deploy(wrong, scene.devices)
    assert [each.outcome for each in result.outcomes.values()] == ["failed", "skipped", "skipped"]
    assert result.stopped == "1 of the first batch failed, so no other device is changed"
    assert not any((Path(device.root) / f"releases/{_release(wrong)}").exists() for device in scene.devices[1:])
    aftermath.hold(scene.devices, scene.old, scene.new, result, scene.deploy)


@pytest.mark.fault(
    "a device of a later group fails: what was done before is rolled back",
    serves="old",
    reports="rolled-back.*rolled back: 1 failed until batch 3",
)
def test_deploy_takes_back_all_groups_when_a_later_one_fails(
    scene: Scene, aftermath: Aftermath, broken_python: Path
) -> None:
    first, second, third = scene.devices
    result = scene.deploy(first, second, replace(third, python=str(broken_python)))
    assert [each.outcome for each in result.outcomes.values()] == ["rolled-back", "rolled-back", "failed"]
    assert "taken-back" in (Path(first.root) / "audit.jsonl").read_text()
    assert not (Path(first.root) / "previous").exists()
    aftermath.hold(scene.devices, scene.old, scene.new, result.outcomes, scene.deploy)


@pytest.mark.fault(
    "a device of a later group fails, with `--no-auto-rollback`", serves="old or new", reports="1 failed until batch 3"
)
def test_deploy_keeps_what_was_done_when_told_not_to_undo(
    scene: Scene, aftermath: Aftermath, broken_python: Path
) -> None:
    first, second, third = scene.devices
    result = scene.deploy(
        first, second, replace(third, python=str(broken_python)), strategy=Strategy(auto_rollback=False)
    )
    assert [each.outcome for each in result.outcomes.values()] == ["deployed", "deployed", "failed"]
    aftermath.hold(scene.devices, scene.old, scene.new, result, scene.deploy)


@pytest.mark.fault(
    "the service is not healthy on the new release: the device puts the old one back by itself",
    serves="old",
    reports="the service is not healthy: .* answers 500.* serves again",
)
def test_deploy_restores_the_release_when_the_service_fails(lone: Scene, aftermath: Aftermath, tmp_path: Path) -> None:
    with _service(Path(lone.devices[0].root), sick=_release(lone.new)) as url:
        restarted = tmp_path / "restarted"
        variables = {"toolkit_health": url, "toolkit_restart": f"readlink current >> {restarted}"}
        device = replace(lone.devices[0], variables=lone.devices[0].variables | variables)
        result = lone.deploy(device, gates=(*REQUIRED_GATES, HealthGate(0.5, patience_s=0.5)))
    served = [Path(line).name for line in restarted.read_text().split()]
    assert served == [_release(lone.new), _release(lone.old)]
    aftermath.hold(lone.devices, lone.old, lone.new, result, lone.deploy)


@pytest.mark.fault(
    "two controllers at once, over the same devices",
    serves="old",
    reports="another rollout is running: locked by .*first",
)
def test_deploy_is_refused_when_another_rollout_is_going_on(lone: Scene, aftermath: Aftermath) -> None:
    with rollout_lock(lone.devices[0], "the first one"), pytest.raises(FleetError) as caught:
        lone.deploy()
    aftermath.hold(lone.devices, lone.old, lone.new, caught.value, lone.deploy)


@pytest.mark.fault("two controllers at once, on one device", serves="old", reports="locked by .* another deploy")
def test_deploy_skips_a_device_that_somebody_else_changes(lone: Scene, aftermath: Aftermath) -> None:
    device = lone.devices[0]
    with connect(device) as shell, device_lock(device, shell, "another deploy"):
        result = lone.deploy()
    aftermath.hold(lone.devices, lone.old, lone.new, result, lone.deploy)


@pytest.mark.fault("a bundle signed by somebody else", serves="old", reports="the device refuses the release")
def test_deploy_changes_nothing_on_an_untrusted_signature(lone: Scene, aftermath: Aftermath, tmp_path: Path) -> None:
    keys = [_key(tmp_path / name) for name in ("trusted", "other")]
    signed = [_signed(lone.new, key, tmp_path / key.name / "bundles") for key in keys]
    kind, public, *_ = keys[0].with_suffix(".pub").read_text().split()
    for device in lone.devices:
        (Path(device.root) / "allowed_signers").write_text(f"ci@example.org {kind} {public}\n")
    result = deploy(signed[1], lone.devices)
    aftermath.hold(lone.devices, lone.old, lone.new, result, lambda: deploy(signed[0], lone.devices))


@pytest.mark.fault(
    "a bundle for another target: nothing is sent",
    serves="old",
    reports="the bundle is made for cpu .*, not for MYRIAD",
)
def test_deploy_sends_nothing_for_another_target(lone: Scene, aftermath: Aftermath) -> None:
    result = lone.deploy(*(replace(device, accelerator="MYRIAD") for device in lone.devices))
    assert {each.outcome for each in result.outcomes.values()} == {"failed"}
    assert not any((Path(device.root) / f"releases/{_release(lone.new)}").exists() for device in lone.devices)
    aftermath.hold(lone.devices, lone.old, lone.new, result, lone.deploy)


@pytest.mark.fault("a device slower than its gate", serves="old", reports="slower than its gate: p90")
def test_deploy_keeps_the_old_release_when_too_slow(scene: Scene, aftermath: Aftermath, workspace: Workspace) -> None:
    fast = replace(scene.devices[0], name="fast")
    with Store(workspace.database) as store:
        store.put(_record(scene.new, scene.devices[0], p90_ms=1e-6))
        store.put(_record(scene.new, fast, p90_ms=1e6))
        gates = (*REQUIRED_GATES, SpeedGate(0.5, load_baselines(store)))
    _stage_images(scene.devices[0])
    slow = scene.deploy(scene.devices[0], gates=gates)
    aftermath.hold(scene.devices[:1], scene.old, scene.new, slow, lambda: scene.deploy(fast, gates=gates))
    unknown = scene.deploy(scene.devices[1], gates=gates).ok[scene.devices[1]]
    assert unknown.gates["speed"] == "no record to compare with"


@pytest.mark.fault("30 % of the fleet cannot be reached", serves="old or new", reports="refuses connections")
def test_deploy_serves_the_others_when_a_third_cannot_be_reached(
    devices: Devices, serving: Callable[..., Devices], bundle: Path, other_bundle: Path, aftermath: Aftermath
) -> None:
    many = serving(
        *(
            replace(devices[number % 3], name=f"pi-{number}", root=f"{devices[number % 3].root}-{number}")
            for number in range(10)
        )
    )
    lost = [replace(device, port=1) if number % 3 == 1 else device for number, device in enumerate(many)]
    result = deploy(other_bundle, lost)
    outcomes = [each.outcome for each in result.outcomes.values()]
    assert outcomes == ["failed" if number % 3 == 1 else "deployed" for number in range(10)]
    aftermath.hold(many, bundle, other_bundle, result, lambda: deploy(other_bundle, many))


@pytest.mark.fault("a device hangs in the midst of its turn", serves="old", reports="no answer within 2 s")
def test_deploy_gives_a_device_up_when_it_hangs(
    lone: Scene, aftermath: Aftermath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = _python(tmp_path, 'case "$*" in *" golden "*) exec sleep 30;; esac')
    with monkeypatch.context() as hurried:
        hurried.setattr(session, "STEP_S", 2.0)
        result = lone.deploy(replace(lone.devices[0], python=str(hanging)))
    aftermath.hold(lone.devices, lone.old, lone.new, result, lone.deploy)


@pytest.mark.fault(
    "a corrupted file in the store of a device: it is sent again", serves="new", reports="repaired there: store"
)
def test_deploy_mends_a_file_of_the_store_when_it_is_corrupted(
    lone: Scene, make_bundle: Callable[..., Path], aftermath: Aftermath
) -> None:
    alike = make_bundle("alike", padding_bytes=1000)
    shared = hashing.sha256_file(alike / "model.bin")
    for device in lone.devices:
        path = Path(device.root) / "store" / shared
        path.chmod(0o644)
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    result = deploy(alike, lone.devices)
    aftermath.hold(lone.devices, lone.old, alike, result, lambda: deploy(alike, lone.devices))


@pytest.mark.fault("the clock of a device is wrong by years", serves="new", reports="'deployed'")
@pytest.mark.parametrize("years", [-10, 10])
def test_deploy_does_not_depend_on_the_devices_clock(
    years: int, lone: Scene, aftermath: Aftermath, tmp_path: Path
) -> None:
    wrong = _python(tmp_path, f"LD_PRELOAD={_clock(tmp_path, years)}; export LD_PRELOAD")
    message = subprocess.run(
        [wrong, "-c", "import time; print(time.gmtime().tm_year)"], capture_output=True, check=True
    )
    assert abs(int(message.stdout) - 2026 - years) <= 2
    result = lone.deploy(*(replace(device, python=str(wrong)) for device in lone.devices))
    assert not result.failed
    aftermath.hold(lone.devices, lone.old, lone.new, result, lone.deploy)


@pytest.fixture
def broken_python(tmp_path: Path) -> Path:
    """An interpreter whose golden check crashes."""
    return _python(tmp_path, 'case "$*" in *" golden "*) echo no card >&2; exit 9;; esac')


def _python(folder: Path, first: str) -> Path:
    """A device's interpreter that does something first."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\n{first}\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def _release(bundle: Path) -> str:
    return release_tree(bundle).digest


def _service(root: Path, sick: str) -> ThreadingHTTPServer:
    """Answers at once, 500 while the release `sick` is served; to be used in a with-block, which is given its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500 if (root / "current").readlink().name == sick else 200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            pass

    class Service(ThreadingHTTPServer):
        def __enter__(self) -> str:  # type: ignore[override]
            threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
            return f"http://127.0.0.1:{self.server_port}/health"

        def __exit__(self, *error: object) -> None:
            self.shutdown()
            self.server_close()

    return Service(("127.0.0.1", 0), Answer)


def _key(folder: Path) -> Path:
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / folder.name)], check=True)
    return folder / folder.name


def _signed(bundle: Path, key: Path, folder: Path) -> Path:
    copy = folder / bundle.name
    shutil.copytree(bundle, copy)
    sign_bundle(copy, key)
    return copy


def _stage_images(device: Device) -> None:
    """As the bench leaves them there."""
    folder = Path(device.root) / "images" / "set"
    folder.mkdir(parents=True)
    listed = []
    for number, shade in enumerate((10, 240)):
        content = cv2.imencode(".png", np.full((9, 9, 3), shade, np.uint8))[1].tobytes()
        (folder / f"{number}.png").write_bytes(content)
        listed.append({"file": f"{number}.png", "sha256": hashing.sha256_bytes(content), "label": number})
    (folder / "images.json").write_text(json.dumps({"images": listed}))


def _record(bundle: Path, device: Device, p90_ms: float) -> BenchRecord:
    return BenchRecord(
        digest=f"{device.name}",
        parent=bundle.name,
        device=device.name,
        scenario="single-stream",
        accelerator="CPU",
        samples_ms=(p90_ms,) * 64,
        wall_s=60,
        quick=False,
        broken_rules=(),
        accuracy=None,
        correct=None,
        images=2,
        facts={"name": "other", "image_set": "set"},
        settings={"accelerator": "CPU", "clock": "total", "precision": "f32"},
        at="2026-11-22T06:00:00+00:00",
    )


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
#define OFF (YEARS * 31557600L)
int clock_gettime(clockid_t id, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += OFF;
    return code;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *place) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (place) *place = precise.tv_sec;
    return precise.tv_sec;
}
"""


def _clock(folder: Path, years: int) -> Path:
    """A library that makes a program see another date."""
    library = folder / "clock.so"
    argv = ["gcc", "-shared", "-fPIC", f"-DYEARS={years}", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(argv, input=CLOCK.encode(), check=True)
    return library
