"""Soak: watch the devices for a time after the rollout, and detect failures of the new release.

    restarts    the app started again, or it no longer answers although the device does
    inference   the app says that inference fails, at PATIENCE polls in a row
    alerts      come significantly more often than on the release before (toolkit.stats.rates), judged at the end
    drift       of the camera, raised on the new release; judged once its reference is learned

What cannot be judged is said: a device without an app, one that did not answer, a drift reference that is not complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.fleet import watch
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.fleet.watch import DeviceSample
from toolkit.stats.rates import more_frequent

POLLS, SHORTEST_S, LONGEST_S = 60, 1.0, 60.0
"""Polls in a soak, and the limits of the pause between two."""
PATIENCE = 3
"""Polls in a row at which a problem is there before it counts."""
ALPHA = 0.01
"""Chance that alerts count as more frequent although they are not, of each device."""
WELL = "well"
Samples = Mapping[Device, DeviceSample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """How long to watch; the functions are replaced in tests."""

    seconds: float
    forks: int = DEFAULT_LIMIT
    poll: Callable[[Device], DeviceSample] = watch.poll
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def sample(self, devices: Sequence[Device]) -> Samples:
        """Return a sample of each device that answers."""
        return fleet.fan_out(devices, self.poll, self.forks).ok

    def run(self, releases: Mapping[Device, str], before: Samples) -> SoakResult:
        """Watch the devices, each with the release that it is to serve, until time is up or one fails.

        `before` are samples of the release that they served until now.
        """
        watched = {device: _Watched(release, before.get(device)) for device, release in releases.items()}
        begin = self.clock()
        pause = min(max(self.seconds / POLLS, SHORTEST_S), LONGEST_S, self.seconds)
        while True:
            samples = self.sample(tuple(releases))
            for device, one in watched.items():
                one.see(samples.get(device))
            elapsed = self.clock() - begin
            failed = {device: one.failure for device, one in watched.items() if one.failure}
            if failed or elapsed >= self.seconds:
                break
            self.sleep(min(pause, self.seconds - elapsed))
        failed |= {
            device: why for device, one in watched.items() if (why := one.more_alerts()) and device not in failed
        }
        return SoakResult(round(elapsed, 1), failed, {device: one.summary() for device, one in watched.items()})


@dataclass(frozen=True, slots=True)
class SoakResult:
    """What the soak has shown."""

    seconds: float
    failed: Mapping[Device, str]
    """Why the new release failed there."""
    summaries: Mapping[Device, str]
    """For each device, what was judged and what was not."""


@dataclass(slots=True)
class _Watched:
    """One device under watch."""

    release: str
    before: DeviceSample | None
    first: DeviceSample | None = None
    last: DeviceSample | None = None
    failure: str = ""
    polls: int = 0
    missed: int = 0
    _silent: int = field(default=0, repr=False)
    _failing: int = field(default=0, repr=False)

    def see(self, sample: DeviceSample | None) -> None:
        """Judge one poll; None: the device did not answer."""
        self.polls += 1
        if sample is None:
            self.missed += 1
            return
        if sample.release != self.release:
            self.failure = f"serves {(sample.release or 'nothing')[:12]}, which this rollout did not deploy"
            return
        if sample.uptime_s is None:
            self._silent += 1
            if self._silent >= PATIENCE and self._had_app:
                self.failure = f"its app no longer answers ({sample.app or 'no reason is known'})"
            return
        self._silent = 0
        if self.last is not None and self.last.uptime_s is not None and sample.uptime_s < self.last.uptime_s:
            self.failure = f"its app restarted after {self.last.uptime_s:.0f} s"
        self._failing = self._failing + 1 if (sample.app or "").startswith("inference fails") else 0
        if self._failing >= PATIENCE:
            self.failure = str(sample.app)
        if sample.drift:
            self.failure = f"its camera's {', '.join(sample.drift)} drifted on the new release"
        self.first, self.last = self.first or sample, sample

    @property
    def _had_app(self) -> bool:
        return self.first is not None or (self.before is not None and self.before.uptime_s is not None)

    def more_alerts(self) -> str:
        """Return a text if alerts came significantly more often than before; empty if not, or if that is unknown."""
        rates = self._alert_rates()
        if rates is None or more_frequent(*rates) >= ALPHA:
            return ""
        count, seconds, before, before_s = rates
        return f"{count} alerts in {seconds:.0f} s, after {before} in {before_s:.0f} s on the release before"

    def _alert_rates(self) -> tuple[int, float, int, float] | None:
        """Return alerts and seconds of this watch, and of the app before it; None if one of them does not count alerts."""
        first, last, before = self.first, self.last, self.before
        if first is None or last is None or first.alerts is None or last.alerts is None:
            return None
        if before is None or before.alerts is None or not before.uptime_s:
            return None
        seconds = (last.uptime_s or 0.0) - (first.uptime_s or 0.0)
        return last.alerts - first.alerts, seconds, before.alerts, before.uptime_s

    def summary(self) -> str:
        """Return what was judged and what was not."""
        if self.last is None:
            why = "no app answers" if self.polls > self.missed else "it did not answer"
            return f"not judged: {why}"
        judged = ["restarts", "inference", *(["alerts"] if self._alert_rates() else [])]
        open_questions = [] if self._alert_rates() else ["alerts (no count from before)"]
        if self.last.drift is None:
            open_questions.append("drift (off)")
        elif (self.last.drift_learned or 0.0) < 1:
            open_questions.append(f"drift (reference {self.last.drift_learned or 0.0:.0%} learned)")
        else:
            judged.append("drift")
        missed = f"; {self.missed} of {self.polls} polls not answered" if self.missed else ""
        left = f"; not judged: {', '.join(open_questions)}" if open_questions else ""
        return f"judged: {', '.join(judged)}{left}{missed}"
