"""What a release must pass on a device, and who asks.

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
    """What a gate is asked about: a release that lies on a device, whole or not."""

    device: Device
    shell: Shell
    tree: FileTree
    replaced: str | None
    """The bundle that the device served until now."""
    verified: Mapping[str, Any] | None = None
    """What the release's own `verify` has just said of it there, if it was asked as the last file came."""


class Gate(Protocol):
    """One question to a device."""

    @property
    def name(self) -> str:
        """One word, as plans and outcomes show it."""

    @property
    def after_switch(self) -> bool:
        """Whether it can only be asked of what serves already."""

    def describe(self, device: Device) -> str:
        """What would be asked there, for --dry-run."""

    def check(self, context: GateContext) -> str:
        """What was found, in words.

        Raises:
            FleetError: the release does not pass.
        """


@dataclass(frozen=True, slots=True)
class IntegrityGate:
    """Every byte, and the signature where the device or the inventory asks for one."""

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
    """The golden images."""

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
    """What runs the release gets well, and stays so."""

    seconds: float
    patience_s: float = 60.0
    """How long it may take to get well: a stick takes a while to load a large network."""
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
