"""The gates that a release must pass on a device.

    Whole      before the switch   every byte, and the signature where the device asks for one
    Answers    before the switch   the golden images, within the bundle's tolerance
    Speed      before the switch   no slower than a share of what was measured there (speed.py)
    Healthy    after the switch    the service runs it and stays well for so long, else the old release is put back

Anything that has the members of `Gate` can be put among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from toolkit.artifacts.fleet import Device
from toolkit.deploy.gates import health
from toolkit.fleet import Shell
from toolkit.fleet.transfer.tree import FileTree


@dataclass(frozen=True, slots=True)
class GateContext:
    """What a gate checks: a release on a device."""

    device: Device
    shell: Shell
    tree: FileTree
    replaced: str | None
    """The bundle that the device has served so far."""
    verified: Mapping[str, Any] | None = None
    """The result of the release's own `verify`, if it ran when the last file arrived."""


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


@dataclass(frozen=True, slots=True)
class IntegrityGate:
    """The digests of all files, and the signature if the device or the inventory requires one."""

    name = "verify"
    after_switch = False

    def describe(self, device: Device) -> str:
        """See Gate."""
        del device
        return "check every byte there, and the signature if the device asks for one"

    def check(self, context: GateContext) -> str:
        """See Gate."""
        health.check_integrity(context.device, context.shell, context.tree.digest, context.verified)
        return "whole"


@dataclass(frozen=True, slots=True)
class GoldenGate:
    """The golden samples, within the bundle's tolerance."""

    name = "golden"
    after_switch = False

    def describe(self, device: Device) -> str:
        """See Gate."""
        return f"answer the golden images there on {device.accelerator}"

    def check(self, context: GateContext) -> str:
        """See Gate."""
        result = health.check_golden(context.device, context.shell, context.tree.digest)
        return f"differs by {result['max_abs']:.1e}, {result['tolerance']:g} allowed"


@dataclass(frozen=True, slots=True)
class HealthGate:
    """The service becomes healthy and stays so."""

    seconds: float
    patience_s: float = 60.0
    """How long it may take to become healthy: a Neural Compute Stick loads large networks slowly."""
    name = "healthy"
    after_switch = True

    def describe(self, device: Device) -> str:
        """See Gate."""
        del device
        return f"see that the service is well, and stays so for {self.seconds:g} s"

    def check(self, context: GateContext) -> str:
        """See Gate."""
        return health.check_health(context.device, context.shell, context.tree.digest, self.seconds, self.patience_s)


REQUIRED_GATES: Sequence[Gate] = (IntegrityGate(), GoldenGate())
"""No release serves without these."""
