"""The outcomes of a rollout: stored and logged as they arrive, and summarized at the end."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from toolkit import hashing
from toolkit.artifacts.fleet import Deployment, Device
from toolkit.errors import ExitCode, Problem
from toolkit.fleet.pool import problem_of
from toolkit.progress import Progress, format_bytes
from toolkit.store import Store

SUCCESSFUL = frozenset({"deployed", "unchanged"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutResult:
    """The outcome of each device, in the inventory's order."""

    rollout: str
    outcomes: Mapping[Device, Deployment]
    problems: Mapping[Device, Problem]
    """Problems by device; a device that was only skipped or reverted has none."""
    stopped: str = ""
    """Why the rollout stopped early; empty if it did not."""
    expected: frozenset[str] = SUCCESSFUL
    """The outcomes that count as success."""

    @property
    def ok(self) -> dict[Device, Deployment]:
        """The devices that succeeded."""
        return {device: each for device, each in self.outcomes.items() if self._is_done(device)}

    @property
    def failed(self) -> dict[Device, Problem]:
        """One problem for each other device."""
        others = (device for device in self.outcomes if not self._is_done(device))
        return {device: self.problems.get(device) or self._why(device) for device in others}

    @property
    def exit_code(self) -> ExitCode:
        """SOME_FAILED if a device failed, was reverted or skipped."""
        return ExitCode.SOME_FAILED if self.failed else ExitCode.DONE

    def _is_done(self, device: Device) -> bool:
        return device not in self.problems and self.outcomes[device].outcome in self.expected

    def _why(self, device: Device) -> Problem:
        entry = self.outcomes[device]
        return Problem(f"{entry.outcome}: {entry.reason}", device.name, "fix the cause, then run the rollout again")


class RolloutLog:
    """Records outcomes as they arrive, from any thread, so that an interruption loses none."""

    def __init__(self, store: Store | None, progress: Progress) -> None:
        self.rollout = uuid.uuid4().hex[:12]
        self.stopped = ""
        self._store, self._progress, self._lock = store, progress, threading.Lock()
        self._outcomes: dict[str, Deployment] = {}
        self._problems: dict[str, Problem] = {}

    def add(self, deployment: Deployment) -> Deployment:
        """Store and log an outcome; a later one of a device replaces an earlier one."""
        stored = replace(deployment, rollout=self.rollout)
        with self._lock:
            self._outcomes[stored.device] = stored
            if self._store is not None:
                self._store.put(stored)
        sent = f", {format_bytes(stored.sent_bytes)} sent" if stored.sent_bytes else ""
        entry = "".join(f"; {name}: {detail}" for name, detail in stored.gates.items())
        self._progress.log(f"  {stored.device}: {stored.outcome} in {stored.seconds:.1f} s{sent}{entry}")
        return stored

    def fail(self, device: Device, error: Exception, deployment: Deployment) -> None:
        """Record a device's failure."""
        problem = problem_of(device, error)
        with self._lock:
            self._problems[device.name] = problem
        self.add(replace(deployment, outcome="failed", reason=problem.what))

    def add_problem(self, device: Device, error: Exception) -> None:
        """Record a problem that does not change the device's outcome."""
        with self._lock:
            self._problems[device.name] = problem_of(device, error)

    def add_gate(self, device: Device, name: str, message: str) -> None:
        """Add what was measured after a device's outcome was recorded to that outcome."""
        entry = self._outcomes[device.name]
        self.add(replace(entry, gates={**entry.gates, name: message}))

    def outcome(self, device: Device) -> str:
        """Return a device's outcome so far; empty if it has none."""
        entry = self._outcomes.get(device.name)
        return entry.outcome if entry else ""

    @property
    def failed_devices(self) -> int:
        """The number of devices that failed while being deployed to."""
        with self._lock:
            return sum(entry.outcome == "failed" and entry.batch > 0 for entry in self._outcomes.values())

    def result(self, devices: Sequence[Device], expected: frozenset[str] = SUCCESSFUL) -> RolloutResult:
        """Return the result, in the order of `devices`."""
        return RolloutResult(
            rollout=self.rollout,
            outcomes={device: self._outcomes[device.name] for device in devices if device.name in self._outcomes},
            problems={device: self._problems[device.name] for device in devices if device.name in self._problems},
            stopped=self.stopped,
            expected=expected,
        )


def deployment_record(
    bundle: str,
    device: Device,
    release: str,
    outcome: str,
    start: float,
    *,
    reason: str = "",
    sent_bytes: int = 0,
    batch: int = 0,
    gates: Mapping[str, str] | None = None,
    variant_reason: str = "",
) -> Deployment:
    """Return the record of a deployment; `start` is a time.monotonic()."""
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    return Deployment(
        digest=hashing.sha256_json([bundle, device.name, release, outcome, at]),
        parent=bundle,
        device=device.name,
        release=release,
        outcome=outcome,
        reason=reason,
        sent_bytes=sent_bytes,
        seconds=round(time.monotonic() - start, 3),
        at=at,
        batch=batch,
        gates=gates or {},
        variant_reason=variant_reason,
    )
