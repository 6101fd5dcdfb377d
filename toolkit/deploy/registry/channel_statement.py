"""The statement of a channel: its current release, a counter that only grows, and an expiry.

Devices check it in `toolkit.device.release.freshness`, and refuse a release whose counter is below the highest they have seen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from toolkit import hashing
from toolkit.device.errors import DeviceError
from toolkit.device.release import freshness
from toolkit.device.release.cohort import CohortRule
from toolkit.device.release.signature import CHANNEL, DOWNGRADE
from toolkit.device.runtime.variant import parse_variants
from toolkit.errors import UsageError
from toolkit.system.ssh_signatures import sign

DAY_S = 86400
OFFLINE = "offline"
"""The channel of a file that names no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementOptions:
    """How long a statement holds, who may sign the next one, and whether devices may go back to an older release."""

    expires_days: float = 90.0
    signers: tuple[str, ...] | None = None
    """Principals of the devices' allowed_signers; empty: all of them; None: as the channel's last statement says."""
    threshold: int | None = None
    """How many of them must sign; None: as the channel's last statement says, else 1."""
    cosigners: tuple[Path, ...] = ()
    """Further keys that sign this statement."""
    allow_downgrade: bool = False
    shadow: Mapping[str, float] | None = None
    """"seconds", "agreement" and "every": how devices compare the release with the serving one first; None: not at all."""
    variants: Mapping[str, object] | None = None
    """The variants that the channel holds, see `toolkit.device.runtime.variant`; None: one release alone."""
    rollout: CohortRule | None = None
    """Which devices may take the release now, and when; None: all, at once."""
    counter: int | None = None
    """Default: one more than the channel's last one, and at least the time in seconds."""


DEFAULT_STATEMENT = StatementOptions()


def channel_documents(
    release: str, channel: str, keys: tuple[Path, ...], options: StatementOptions, last_counter: int = 0
) -> dict[str, bytes]:
    """channel.json and its signatures, by name; with `allow_downgrade`, also a signed permit for this very release.

    Raises:
        UsageError: a key cannot sign, or the statement is too large.
    """
    now = int(time.time())
    counter = options.counter if options.counter is not None else max(last_counter + 1, now)
    subject = {"format": 1, "channel": channel, "counter": counter, "release": release}
    times = {"created": now, "expires": now + int(options.expires_days * DAY_S)}
    rules: dict[str, object] = {"signers": list(options.signers or ()), "threshold": options.threshold or 1}
    rules |= {"shadow": dict(options.shadow)} if options.shadow else {}
    rules |= {"variants": dict(options.variants)} if options.variants else {}
    rules |= {"rollout": asdict(options.rollout)} if options.rollout else {}
    statement = hashing.canonical_json({**subject, **times, **rules})
    if len(statement) > freshness.MAX_STATEMENT_BYTES:
        limit = freshness.MAX_STATEMENT_BYTES >> 10
        raise UsageError(
            f"the channel's statement has {len(statement) >> 10} KiB, and devices read at most {limit} KiB",
            where=channel,
            remedy="publish fewer variants, or variants for fewer kinds of devices",
        )
    signatures = b"".join(sign(statement, key, CHANNEL) for key in keys)
    documents = {freshness.STATEMENT: statement, freshness.STATEMENT_SIGNATURE: signatures}
    if options.allow_downgrade:
        permit = hashing.canonical_json({**subject, **times})
        documents |= {
            freshness.PERMIT: permit,
            freshness.PERMIT_SIGNATURE: b"".join(sign(permit, key, DOWNGRADE) for key in keys),
        }
    return documents


def inherit_rules(statement: bytes, options: StatementOptions, keys: int) -> StatementOptions:
    """Return the options with the rules of the channel's last statement where they name none.

    Raises:
        UsageError: devices would refuse the new statement: it has fewer signatures than the last one requires, or requires
            more signers than it names.
    """
    try:
        last = freshness.parse_statement(statement, "channel")
    except DeviceError:
        last = freshness.Statement("", 0, "", 0, 0)
    signers = last.signers if options.signers is None else options.signers
    threshold = last.threshold if options.threshold is None else options.threshold
    if keys and keys < last.threshold:
        raise UsageError(
            f"the channel requires {last.threshold} signatures, but {keys} key{' is' if keys == 1 else 's are'} given",
            where="--sign",
            remedy=f"give --sign KEY for each: the signers are {', '.join(last.signers) or 'all that devices allow'}",
        )
    if signers and threshold > len({*signers}):
        raise UsageError(
            f"{threshold} of {len({*signers})} signers cannot sign",
            where="--threshold",
            remedy="lower it, or name more signers",
        )
    return replace(options, signers=signers, threshold=threshold)


def counter_of(statement: bytes) -> int:
    """Return the counter of a channel's last statement; 0 if none can be read."""
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
    wished = (
        options.signers or (),
        options.threshold or 1,
        options.shadow,
        parse_variants(options.variants),
        options.rollout,
    )
    same = (stated.signers, stated.threshold, stated.shadow, stated.variants, stated.rollout) == wished
    return options.allow_downgrade or not same or left < options.expires_days * DAY_S / 2
