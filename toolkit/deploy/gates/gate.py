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
from toolkit.fleet.transfer.staging import Tree


@dataclass(frozen=True, slots=True)
class Ground:
    """What a gate is asked about: a release that lies on a device, whole or not."""

    device: Device
    shell: Shell
    tree: Tree
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

    def tell(self, device: Device) -> str:
        """What would be asked there, for --dry-run."""

    def check(self, ground: Ground) -> str:
        """What was found, in words.

        Raises:
            FleetError: the release does not pass.
        """


@dataclass(frozen=True, slots=True)
class Whole:
    """Every byte, and the signature where the device or the inventory asks for one."""

    name = "verify"
    after_switch = False

    def tell(self, device: Device) -> str:
        """See Gate."""
        del device
        return "check every byte there, and the signature if the device asks for one"

    def check(self, ground: Ground) -> str:
        """See Gate."""
        health.check_bytes(ground.device, ground.shell, ground.tree.digest, ground.verified)
        return "whole"


@dataclass(frozen=True, slots=True)
class Answers:
    """The golden images."""

    name = "golden"
    after_switch = False

    def tell(self, device: Device) -> str:
        """See Gate."""
        return f"answer the golden images there on {device.accelerator}"

    def check(self, ground: Ground) -> str:
        """See Gate."""
        found = health.check_answers(ground.device, ground.shell, ground.tree.digest)
        return f"differs by {found['max_abs']:.1e}, {found['tolerance']:g} allowed"


@dataclass(frozen=True, slots=True)
class Healthy:
    """What runs the release gets well, and stays so."""

    seconds: float
    patience_s: float = 60.0
    """How long it may take to get well: a stick takes a while to load a large network."""
    name = "healthy"
    after_switch = True

    def tell(self, device: Device) -> str:
        """See Gate."""
        del device
        return f"see that the service is well, and stays so for {self.seconds:g} s"

    def check(self, ground: Ground) -> str:
        """See Gate."""
        return health.check_service(ground.device, ground.shell, ground.tree.digest, self.seconds, self.patience_s)


ALWAYS: Sequence[Gate] = (Whole(), Answers())
"""No release serves without these."""
