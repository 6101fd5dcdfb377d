"""What a channel states: which release it holds, by a counter that only grows, and until when that is to be believed.

Devices check it in `toolkit.device.release.freshness`, and refuse a release whose counter is below the highest they have seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from toolkit import hashing
from toolkit.device.errors import DeviceError
from toolkit.device.release import freshness
from toolkit.device.release.signature import CHANNEL, DOWNGRADE
from toolkit.system.ssh_signatures import sign

DAY_S = 86400
OFFLINE = "offline"
"""The channel of a file that names no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOptions:
    """How long a statement holds, who may sign the next one, and whether devices may go back to an older release."""

    expires_days: float = 90.0
    signers: tuple[str, ...] = ()
    """Principals of the devices' allowed_signers; none: all of them."""
    threshold: int = 1
    allow_downgrade: bool = False
    counter: int | None = None
    """Default: one more than the channel's last one, and at least the time in seconds."""


DEFAULT_STATEMENT = StatementOptions()


def channel_documents(
    release: str, channel: str, keys: tuple[Path, ...], options: StatementOptions, last_counter: int = 0
) -> dict[str, bytes]:
    """channel.json and its signatures, by name; with `allow_downgrade`, also a signed permit for this very release.

    Raises:
        UsageError: a key cannot sign.
    """
    now = int(time.time())
    counter = options.counter if options.counter is not None else max(last_counter + 1, now)
    subject = {"format": 1, "channel": channel, "counter": counter, "release": release}
    times = {"created": now, "expires": now + int(options.expires_days * DAY_S)}
    rules = {"signers": list(options.signers), "threshold": options.threshold}
    statement = hashing.canonical_json({**subject, **times, **rules})
    signatures = b"".join(sign(statement, key, CHANNEL) for key in keys)
    documents = {freshness.STATEMENT: statement, freshness.STATEMENT_SIGNATURE: signatures}
    if options.allow_downgrade:
        permit = hashing.canonical_json({**subject, **times})
        documents |= {freshness.PERMIT: permit, freshness.PERMIT_SIGNATURE: sign(permit, keys[0], DOWNGRADE)}
    return documents


def counter_of(statement: bytes) -> int:
    """Of a channel's last statement; 0 where there is none that can be read."""
    try:
        return freshness.parse_statement(statement, "channel").counter
    except DeviceError:
        return 0


def is_due(statement: bytes, options: StatementOptions) -> bool:
    """Whether a statement has less than half of its time left, or says something else than is wanted now."""
    try:
        stated = freshness.parse_statement(statement, "channel")
    except DeviceError:
        return True
    left = stated.expires - time.time()
    same = (stated.signers, stated.threshold) == (options.signers, options.threshold)
    return options.allow_downgrade or not same or left < options.expires_days * DAY_S / 2
