"""The gates that a release must pass on a device.

    IntegrityGate   before the switch   every byte, and the signature if the device requires one
    GoldenGate      before the switch   the golden images, within the bundle's tolerance
    ShadowGate      before the switch   agrees with the serving release on live frames (shadow_gate.py; first batch only)
    SpeedGate       before the switch   no slower than a share of the last measurement there (speed_gate.py)
    HealthGate      after the switch    the service runs it and stays healthy, else the old release is restored

The device measures and evaluates; the controller adds its verdict on the measurements. Any object with the members of `Gate`
can be added; only those of `DeviceGate` request a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from toolkit.artifacts.fleet import Device
from toolkit.deploy import commands
from toolkit.deploy.gates import health
from toolkit.fleet import Shell
from toolkit.fleet.transfer.tree import FileTree


@dataclass(frozen=True, slots=True)
class GateContext:
    """What a gate checks: a release on a device."""

    device: Device
    shell: Shell
    release: str
    tree: FileTree | None
    """None for a release that was on the device before."""
    replaced: str | None
    """The bundle that the device has served so far."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """What the device measured for this gate."""


class Gate(Protocol):
    """One check of a release on a device."""

    @property
    def name(self) -> str:
        """The name in plans and outcomes."""

    @property
    def after_switch(self) -> bool:
        """Whether it runs after the switch."""

    def describe(self, device: Device) -> str:
        """Return what would be checked, for --dry-run."""

    def check(self, context: GateContext) -> str:
        """Return the result as a message.

        Raises:
            FleetError: the release does not pass.
        """


@runtime_checkable
class DeviceGate(Protocol):
    """What a gate has besides if the device measures something for it."""

    def measurement(self, context: GateContext) -> dict[str, Any]:
        """Return what the device is to measure: "run", and its options; see toolkit.device.activation.session."""


@runtime_checkable
class TurnGate(Protocol):
    """What a gate has besides if its measurements take turns."""

    def turn(self, context: GateContext) -> AbstractContextManager[object]:
        """Hold the turn while the device measures."""


@runtime_checkable
class FirstBatchGate(Protocol):
    """What a gate has besides if only devices of the first batch have to pass it; the audit log records it by itself."""

    first_batch_only: bool

    def audit_entry(self, device: Device) -> dict[str, Any] | None:
        """Return what the device's audit log is to record; None if nothing was measured there."""


@dataclass(frozen=True, slots=True)
class GateRun:
    """The gates of one activation, as a session asks for them."""

    context: GateContext
    gates: Sequence[Gate]

    def requests(self) -> list[dict[str, Any]]:
        """Return what to ask of the device for each gate, in order."""
        return [self._request(gate) for gate in self.gates]

    def turn(self, name: str) -> AbstractContextManager[object]:
        """Hold the turn of a gate whose measurements take turns."""
        gate = self._named(name)
        return gate.turn(self.context) if isinstance(gate, TurnGate) else nullcontext()

    def judge(self, name: str, result: Mapping[str, Any]) -> str:
        """Return a gate's message on what the device measured; raise what the gate raises."""
        return self._named(name).check(replace(self.context, result=result))

    def _request(self, gate: Gate) -> dict[str, Any]:
        request = gate.measurement(self.context) if isinstance(gate, DeviceGate) else {"run": None}
        return {
            "name": gate.name,
            "after_switch": gate.after_switch,
            "waits_for_turn": isinstance(gate, TurnGate),
            **request,
        }

    def _named(self, name: str) -> Gate:
        return next(gate for gate in self.gates if gate.name == name)


@dataclass(frozen=True, slots=True)
class IntegrityGate:
    """The digests of all files, and the signature if the device or the inventory requires one."""

    name = "verify"
    after_switch = False

    def describe(self, device: Device) -> str:
        """See Gate."""
        del device
        return "verify every file on the device, and the signature if the device requires one"

    def measurement(self, context: GateContext) -> dict[str, Any]:
        """See DeviceGate."""
        del context
        return {"run": "verify"}

    def check(self, context: GateContext) -> str:
        """See Gate."""
        health.judge_integrity(context.device, context.result)
        return "whole"


@dataclass(frozen=True, slots=True)
class GoldenGate:
    """The golden samples, within the bundle's tolerance."""

    name = "golden"
    after_switch = False

    def describe(self, device: Device) -> str:
        """See Gate."""
        return f"reproduce the golden samples on {device.accelerator}"

    def measurement(self, context: GateContext) -> dict[str, Any]:
        """See DeviceGate."""
        del context
        return {"run": "golden"}

    def check(self, context: GateContext) -> str:
        """See Gate."""
        return health.judge_golden(context.device, context.release, context.result)


@dataclass(frozen=True, slots=True)
class HealthGate:
    """The service becomes healthy and stays so."""

    seconds: float
    patience_s: float = 60.0
    """How long it may take to become healthy: an accelerator may load large networks slowly."""
    name = "healthy"
    after_switch = True

    def describe(self, device: Device) -> str:
        """See Gate."""
        del device
        return f"check that the service is healthy and stays so for {self.seconds:g} s"

    def measurement(self, context: GateContext) -> dict[str, Any]:
        """See DeviceGate."""
        device = context.device
        service = {"unit": commands.service(device), "url": device.variables.get(commands.HEALTH)}
        return {"run": "health", **service, "seconds": self.seconds, "patience_s": self.patience_s}

    def check(self, context: GateContext) -> str:
        """See Gate."""
        return health.judge_health(context.device, context.result)


REQUIRED_GATES: Sequence[Gate] = (IntegrityGate(), GoldenGate())
"""No release serves without these."""
