"""Which devices run a component, such as a package with a known vulnerability."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.bundle.bill_of_materials import SBOM, locked_packages
from toolkit.deploy.status import deployed_releases
from toolkit.errors import FleetError
from toolkit.fleet import FleetResult
from toolkit.fleet.installed_packages import ComponentQuery, Package, installed_packages
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress
from toolkit.store import Store

INSTALLED, LOCKED = "installed", "locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceComponents:
    """The packages of one device that a query matches; none if it runs no such component."""

    device: str
    packages: tuple[Package, ...]
    source: str = INSTALLED
    """"installed": listed by the device; "locked": it cannot be reached, and the bill of materials of its release lists them."""
    reason: str = ""
    """Why it could not be reached."""


def find_component(
    query: ComponentQuery,
    devices: Sequence[Device],
    *,
    store: Store | None = None,
    bills: Path | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
) -> FleetResult[DeviceComponents]:
    """Return what each device has installed of a component; changes nothing.

    A device that cannot be asked counts as running what the bill of materials of its last deployment lists (in the folder
    `bills`). If that lists no match, the device is an error, because nobody knows what it has installed.
    """
    deployed = deployed_releases(store) if store is not None else {}

    def ask(device: Device) -> DeviceComponents:
        try:
            with fleet.connect(device) as shell:
                packages = installed_packages(device, shell)
        except FleetError as error:
            locked = _locked(bills, deployed.get(device.name, ""))
            if not (matches := tuple(filter(query.matches, locked))):
                raise
            return DeviceComponents(device=device.name, packages=matches, source=LOCKED, reason=str(error))
        return DeviceComponents(device=device.name, packages=tuple(filter(query.matches, packages)))

    return fleet.fan_out(devices, ask, forks, progress=progress, title="listing packages")


def _locked(bills: Path | None, release: str) -> tuple[Package, ...]:
    path = None if bills is None else bills / f"{release}{SBOM}"
    if path is None or not release or not path.exists():
        return ()
    packages = locked_packages(json.loads(path.read_text(encoding="utf-8")))
    return tuple(Package("pypi", name, version) for name, version in packages)
