"""Watching a release after its rollout: samples that are written by hand, and one rollout that is rolled back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.cli.main import main
from toolkit.deploy import deploy
from toolkit.deploy.gates.soak import Soak, SoakResult
from toolkit.errors import FleetError
from toolkit.fleet.watch import DeviceSample, parse_sample

NEW, OLD = "e" * 64, "0" * 64
PI = Device(name="pi", host="127.0.0.1")
WELL = DeviceSample(device="pi", release=NEW, app="well", uptime_s=10.0, alerts=0, drift=(), drift_learned=1.0)
BEFORE = replace(WELL, release=OLD, uptime_s=3600.0, alerts=4)


class Script:
    """A device that answers one sample after the other, and a clock that only the pauses move."""

    def __init__(self, *samples: DeviceSample | None) -> None:
        self._samples = iter(samples)
        self._last: DeviceSample | None = None
        self.now = 0.0

    def poll(self, device: Device) -> DeviceSample:
        del device
        self._last = next(self._samples, self._last)
        if self._last is None:
            raise FleetError("no answer")
        return self._last

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def soak(self, seconds: float = 300.0) -> Soak:
        return Soak(seconds=seconds, poll=self.poll, clock=lambda: self.now, sleep=self.sleep)


def _run(*samples: DeviceSample | None, before: DeviceSample | None = BEFORE) -> SoakResult:
    return Script(*samples).soak().run({PI: NEW}, {PI: before} if before else {})


def _aging(count: int, **changes: object) -> Iterator[DeviceSample]:
    for number in range(count):
        yield replace(WELL, uptime_s=10.0 + 5 * number, **changes)


def test_release_that_stays_well_passes() -> None:
    result = _run(*_aging(70))
    assert (result.seconds, result.failed) == (300.0, {})
    assert result.summaries == {PI: "judged: restarts, inference, alerts, drift"}


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        ([WELL, replace(WELL, uptime_s=3.0)], "its app restarted after 10 s"),
        ([WELL, *[replace(WELL, app="inference fails: NaN")] * 3], "inference fails: NaN"),
        ([WELL, *[replace(WELL, app="refused", uptime_s=None)] * 3], "its app no longer answers (refused)"),
        ([WELL, replace(WELL, drift=("sharpness",))], "its camera's sharpness drifted on the new release"),
        ([replace(WELL, release=OLD)], f"serves {OLD[:12]}, which this rollout did not deploy"),
    ],
)
def test_release_that_fails_ends_the_watch_at_once(samples: list[DeviceSample], why: str) -> None:
    result = _run(*samples)
    assert result.failed == {PI: why}
    assert result.seconds < 30


def test_passing_trouble_does_not_count() -> None:
    lost = replace(WELL, app="refused", uptime_s=None)
    failing = replace(WELL, app="inference fails: once")
    assert not _run(WELL, lost, lost, WELL, failing, failing, WELL).failed


def test_alerts_that_became_more_frequent_fail() -> None:
    many = [replace(each, alerts=number) for number, each in enumerate(_aging(61))]
    assert _run(*many).failed == {PI: "60 alerts in 300 s, after 4 in 3600 s on the release before"}
    assert not _run(*many, before=replace(BEFORE, alerts=700)).failed


@pytest.mark.parametrize(
    ("sample", "before", "summary"),
    [
        (replace(WELL, uptime_s=None, app=None), None, "not judged: no app answers"),
        (None, BEFORE, "not judged: it did not answer"),
        (
            replace(WELL, drift=None, alerts=None),
            BEFORE,
            "judged: restarts, inference; not judged: alerts (no count from before), drift (off)",
        ),
        (
            replace(WELL, drift_learned=0.25),
            BEFORE,
            "judged: restarts, inference, alerts; not judged: drift (reference 25% learned)",
        ),
    ],
)
def test_watch_says_what_it_did_not_judge(
    sample: DeviceSample | None, before: DeviceSample | None, summary: str
) -> None:
    result = _run(sample, before=before)
    assert (result.failed, result.summaries) == ({}, {PI: summary})


@pytest.mark.slow
def test_rollout_that_fails_afterwards_is_rolled_back(
    serving: Callable[..., tuple[Device, ...]], devices: tuple[Device, ...], bundle: Path, other_bundle: Path
) -> None:
    pair = serving(*devices[:2])
    uptimes = iter((100.0, 3.0))

    def poll(device: Device) -> DeviceSample:
        release = (Path(device.root) / "current").resolve().name
        restarted = device == pair[1] and release != first
        return replace(WELL, release=release, uptime_s=next(uptimes) if restarted else 50.0)

    first = (Path(pair[0].root) / "current").resolve().name
    soak = Soak(seconds=60, poll=poll, sleep=lambda _: None)
    result = deploy(other_bundle, pair, soak=soak)
    assert result.exit_code == 1
    assert "its app restarted after 100 s" in result.stopped
    assert [each.outcome for each in result.outcomes.values()] == ["rolled-back", "rolled-back"]
    assert "failed after the rollout" in result.failed[pair[1]].what
    for device in pair:
        assert json.loads((Path(device.root) / "current/release.json").read_text())["bundle"] == bundle.name


@pytest.mark.slow
def test_ctrl_c_ends_the_watch_and_keeps_the_release(
    serving: Callable[..., tuple[Device, ...]], devices: tuple[Device, ...], other_bundle: Path
) -> None:
    (device,) = serving(devices[0])

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    def poll(device: Device) -> DeviceSample:
        return replace(WELL, release=(Path(device.root) / "current").resolve().name)

    with pytest.raises(KeyboardInterrupt):
        deploy(other_bundle, (device,), soak=Soak(seconds=60, poll=poll, sleep=interrupt))
    assert json.loads((Path(device.root) / "current/release.json").read_text())["bundle"] == other_bundle.name


def test_soak_needs_a_length_of_time(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["deploy", str(bundle), "--fleet", "--soak", "0"])
    assert caught.value.code == 2
    assert "--soak: '0' is not a duration" in capfd.readouterr().err


def test_samples_read_what_the_app_counts() -> None:
    app = {"uptime_s": 12, "alerts": 3, "drift": {"learned": 0.5, "raised": []}}
    sample = parse_sample(PI, {"app": app})
    assert (sample.uptime_s, sample.alerts, sample.drift_learned) == (12.0, 3, 0.5)
    assert sample.camera is None
    recent = {"frames": 9, "means": {"brightness": 3, "contrast": "x"}, "classes": {"dark": 1}}
    camera = parse_sample(PI, {"app": {"drift": {"recent": recent}}}).camera
    assert camera is not None
    assert (camera.frames, camera.means, camera.classes) == (9, {"brightness": 3.0}, {"dark": 1.0})
    assert parse_sample(PI, {"app": {"uptime_s": "x", "alerts": True}}).alerts is None
