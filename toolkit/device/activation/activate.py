"""Make a release current: gates before the switch, the switch, gates after it; if one fails, restore the old release.

Serves SSH, registries and USB drives alike. The caller holds the deploy lock, and has received and listed every file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence

from ..errors import DeviceError
from ..layout import CURRENT, PREVIOUS
from . import links
from .child import Children
from .gates import Context
from .service import Service

INTEGRITY = "verify"
"""The gate that every activation begins with."""


class GateError(DeviceError):
    """The release did not pass a gate; retrying gives the same result."""


@dataclass(frozen=True)
class ActivationGate:
    """One check of a release, before or after the switch."""

    name: str
    check: Callable[[Context], str]
    """Returns the result as a message; raises DeviceError if the release does not pass."""
    after_switch: bool = False


@dataclass(frozen=True)
class Served:
    """What a device serves, and what it served before that."""

    release: Optional[str]
    previous: Optional[str]

    @classmethod
    def read(cls, root: Path) -> "Served":
        """Return what the links of ROOT say."""
        return cls(links.linked_release(root, CURRENT), links.linked_release(root, PREVIOUS))


def activate(
    context: Context, gates: Sequence[ActivationGate], service: Service, *, back: bool = False
) -> Dict[str, str]:
    """Make the release current and restart the service; return the message of each gate.

    A release that is current already is checked by the gates before the switch only. `back`: see `links.switch`.

    Raises:
        DeviceError: a gate did not pass, or the service could not be restarted; the old release serves.
    """
    if not gates or gates[0].name != INTEGRITY or gates[0].after_switch:
        raise DeviceError("no release is activated unless it is verified first", where=str(context.folder))
    old = Served.read(context.root)
    passed = {gate.name: gate.check(context) for gate in gates if not gate.after_switch}
    if old.release == context.release:
        return passed
    context.children.check()
    links.switch(context.root, context.release, old.release, back=back)
    try:
        service.restart(context.root, context.children)
        passed.update((gate.name, gate.check(context)) for gate in gates if gate.after_switch)
    except BaseException as error:
        message = _put_back(context.root, old, service)
        if isinstance(error, DeviceError):
            raise type(error)(f"{error.what}; {message}", where=error.where, remedy=error.remedy) from error
        raise
    return passed


def put_back(root: Path, old: Served, service: Service) -> None:
    """Serve again what served before; its child processes do not end when the controller is gone.

    Raises:
        DeviceError: the service could not be restarted.
    """
    links.restore(root, old.release, old.previous)
    service.restart(root, Children())


def _put_back(root: Path, old: Served, service: Service) -> str:
    """Serve again what served before; return a message that says what serves now."""
    try:
        put_back(root, old, service)
    except (DeviceError, OSError) as second:
        return f"and the previous release could not be restored: {getattr(second, 'what', second)}"
    return f"{(old.release or 'nothing')[:12]} serves again"
