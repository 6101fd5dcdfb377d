"""What each device serves, and whether that is what was deployed last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from toolkit import fleet
from toolkit.artifacts import Deployment, Device
from toolkit.deploy import commands
from toolkit.deploy.lock import describe_lock
from toolkit.fleet import FleetResult, Shell
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress
from toolkit.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One device's answer; None is "nothing" or "not known"."""

    device: str
    release: str | None
    bundle: str | None
    name: str | None
    """The bundle's, for people."""
    previous: str | None
    since: str | None
    lock: str | None
    """Who is changing it right now."""
    expected: str | None = None
    """The release that this workspace put there last."""

    @property
    def as_expected(self) -> bool | None:
        """Whether it serves what this workspace put there last; None if it never did."""
        return None if self.expected is None else self.release == self.expected


def status(
    devices: Sequence[Device],
    *,
    store: Store | None = None,
    forks: int = DEFAULT_LIMIT,
    progress: Progress | None = None,
) -> FleetResult[Serving]:
    """Ask every device; changes nothing, and needs no Python there."""
    expected = _expected(store) if store is not None else {}

    def ask(device: Device) -> Serving:
        with fleet.connect(device) as shell:
            return replace(look(device, shell), expected=expected.get(device.name))

    return fleet.fan_out(devices, ask, forks, progress=progress, title="asking")


def look(device: Device, shell: Shell) -> Serving:
    """What one device serves."""
    return parse(device, shell.run(commands.status(device)).check(device, "asking what it serves").stdout)


def parse(device: Device, said: str) -> Serving:
    """From the lines that `commands.status` prints."""
    found = {name: value.strip() for name, _, value in (line.partition(" = ") for line in said.splitlines())}
    since = found.get("since")
    return Serving(
        device=device.name,
        release=_digest(found.get("current")),
        bundle=_json(found.get("release")).get("bundle"),
        name=_json(found.get("manifest")).get("name"),
        previous=_digest(found.get("previous")),
        since=datetime.fromtimestamp(int(since), UTC).isoformat() if since else None,
        lock=describe_lock(found["lock"]) if found.get("lock") else None,
    )


def _digest(link: str | None) -> str | None:
    return link.rpartition("/")[2] if link else None


def _json(text: str | None) -> Mapping[str, Any]:
    """An object, or an empty one where the file is missing or damaged: `toolkit deploy` says more about that."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _expected(store: Store) -> dict[str, str]:
    """The release that each device was left with, by this workspace's own record; the last word counts."""
    return {record.device: record.release for record in store.all(Deployment) if record.outcome != "failed"}
