"""Freshness of signed releases: the statement of a channel, and this device's floor for each channel.

    channel.json       {"format": 1, "channel", "counter", "release", "created", "expires", "signers", "threshold"},
                       and on request "shadow": {"seconds", "agreement", "every"}, "variants", see `runtime.variant`, and
                       "rollout", see `cohort`
    channel.json.sig   signatures in the channel namespace, concatenated, one for each signer
    downgrade.json     {"format": 1, "channel", "counter", "release", "expires"}: permits one release below the floor
    floors.json        for each channel: the highest accepted counter, its release, the next signers
    floors.copy.json   the same; a device that has lost one of the two records goes by the other

The two records lie in ROOT, or in /var/lib/toolkit-agent, which root owns, where Ansible has installed the agent.

`counter` grows with every publication. If `signers` is not empty, it names the principals of allowed_signers who may
sign the next statement of this channel and its release.json, and `threshold` the number of signatures that each needs. A floor is on disk before
its release is received, so a power cut cannot lower it. Times are UTC, in seconds since 1970. The latest `created` of
an accepted statement counts as the current time if the device's clock is behind it. See docs/security.md, "Freshness".
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..errors import DeviceError
from ..layout import FLOORS, FLOORS_COPY, RELEASE
from ..runtime.variant import VariantTable, parse_variants
from .cohort import CohortRule, parse_rule
from .manifest import parse_object
from .signature import ALLOWED, CHANNEL, DOWNGRADE, check_signed, split_signatures
from .signature import RELEASE as RELEASE_NAMESPACE
from .store import write_atomic

STATEMENT, STATEMENT_SIGNATURE = "channel.json", "channel.json.sig"
PERMIT, PERMIT_SIGNATURE = "downgrade.json", "downgrade.json.sig"
MAX_COUNTER = 1 << 53
MAX_STATEMENT_BYTES = 64 << 10
MAX_SHADOW_S = 1800.0
"""Longest comparison on live frames: the timer's service ends a pull after an hour or more."""
MAX_CLOCK_LEAD_S = 10 * 365 * 86400.0
"""Limit on how far a statement may advance the time, so that one from the far future does not expire all others."""
_REMEDY = "publish the release again: `toolkit publish BUNDLE CHANNEL --sign KEY`"


@dataclass(frozen=True)
class Statement:
    """The statement of a channel, or a permit for a downgrade."""

    channel: str
    counter: int
    release: str
    created: float
    expires: float
    signers: Tuple[str, ...] = ()
    threshold: int = 1
    shadow: Optional[Dict[str, float]] = None
    """How devices compare the release with the one that they serve, on live frames, before they switch; None: not at all."""
    variants: Optional[VariantTable] = None
    """The variants that the channel holds, `release` the default among them; None: it holds `release` alone."""
    rollout: Optional[CohortRule] = None
    """Which devices may take the release now; None: all."""

    @property
    def releases(self) -> Tuple[str, ...]:
        """Return every release that the channel holds now."""
        return tuple(each.release for each in self.variants.variants) if self.variants else (self.release,)


def parse_statement(content: bytes, where: str) -> Statement:
    """Return the statement in the bytes of channel.json or downgrade.json.

    Raises:
        DeviceError: a field is missing or not valid.
    """
    fields = parse_object(content, where) if len(content) <= MAX_STATEMENT_BYTES else {}
    signers = fields.get("signers", [])
    valid = (
        fields.get("format") == 1
        and isinstance(fields.get("channel"), str)
        and isinstance(fields.get("release"), str)
        and isinstance(signers, list)
        and all(isinstance(name, str) for name in signers)
    )
    numbers = [fields.get("counter"), fields.get("created", 0), fields.get("expires"), fields.get("threshold", 1)]
    if not valid or not all(type(number) in {int, float} and 0 <= number < MAX_COUNTER for number in numbers):
        raise DeviceError("is not a valid statement of a channel", where=where, remedy=_REMEDY)
    counter, created, expires, threshold = numbers
    if threshold < 1 or (signers and threshold > len({*signers})):
        raise DeviceError("requires more signers than it names", where=where, remedy=_REMEDY)
    return Statement(
        fields["channel"],
        int(counter),
        fields["release"],
        created,
        expires,
        tuple(signers),
        int(threshold),
        _parse_shadow(fields.get("shadow"), where),
        _parse_choice(fields, where),
        _parse_rollout(fields.get("rollout"), where),
    )


def _parse_choice(fields: Dict[str, Any], where: str) -> Optional[VariantTable]:
    """Return the variants of a statement, the first of which must be the release that it names; None without any."""
    try:
        table = parse_variants(fields.get("variants"))
    except ValueError:
        raise DeviceError("has variants that are not valid", where=where, remedy=_REMEDY) from None
    if table is not None and table.variants[0].release != fields["release"]:
        raise DeviceError("has a default variant that is not its release", where=where, remedy=_REMEDY)
    return table


def _parse_shadow(rule: Any, where: str) -> Optional[Dict[str, float]]:
    """Return the rule of a comparison on live frames, with its values checked; None without one."""
    if rule is None:
        return None
    values: List[Any] = [rule.get(name) for name in ("seconds", "agreement", "every")] if isinstance(rule, dict) else []
    if not values or any(type(value) not in {int, float} for value in values):
        raise DeviceError("is not a valid statement of a channel", where=where, remedy=_REMEDY)
    seconds, agreement, every = values
    if not (0 < seconds <= MAX_SHADOW_S and 0 < agreement < 1 and 1 <= every <= 10_000):
        raise DeviceError("is not a valid statement of a channel", where=where, remedy=_REMEDY)
    return {"seconds": float(seconds), "agreement": float(agreement), "every": int(every)}


def _parse_rollout(rule: Any, where: str) -> Optional[CohortRule]:
    try:
        return parse_rule(rule)
    except DeviceError as error:
        raise DeviceError(error.what, where=where, remedy=error.remedy or _REMEDY) from None


def check_freshness(
    root: Path, documents: Dict[str, bytes], release: str, channel: str, where: str, folder: Optional[Path] = None
) -> str:
    """Check the statement of `channel` for this release and raise the floor; return a message for the user.

    `folder` holds the floors; None: they lie in ROOT.

    Raises:
        DeviceError: release.json or the statement lacks required signatures, or the statement names another channel or
        release, has expired, or is below the floor without a permit.
    """
    folder = folder or root
    content, floors = documents.get(STATEMENT), _read_floors(folder)
    if content is None:
        raise DeviceError(f"has no {STATEMENT}, so its age cannot be checked", where=where, remedy=_REMEDY)
    if hashlib.sha256(documents.get(RELEASE, b"")).hexdigest() != release:
        raise DeviceError(f"{RELEASE} is not that of release {release[:12]}", where=where, remedy=_REMEDY)
    floor = floors["channels"].get(channel, {})
    releasers = _check_signers(root, documents, floor, where, RELEASE, RELEASE_NAMESPACE)
    signers = _check_signers(root, documents, floor, where, STATEMENT, CHANNEL)
    statement = parse_statement(content, f"{where}: {STATEMENT}")
    _check_subject(statement, release, channel, where)
    now = max(time.time(), floors["latest_time"])
    _check_expiry(statement, now, where)
    message = f"signed by {', '.join(releasers)}; {channel} {statement.counter}, stated by {', '.join(signers)}"
    if _is_below(statement, floor):
        _check_permit(root, documents, statement, floor, now, where)
        message += f"; downgrade from {floor['counter']} permitted"
    floors["latest_time"] = max(floors["latest_time"], min(statement.created, time.time() + MAX_CLOCK_LEAD_S))
    before = floors["channels"].get(channel)
    floors["channels"][channel] = {
        "counter": statement.counter,
        "release": statement.release,
        "signers": list(statement.signers),
        "threshold": statement.threshold,
    }
    if floors["channels"][channel] == before and (folder / FLOORS).exists() and (folder / FLOORS_COPY).exists():
        return message
    folder.mkdir(parents=True, exist_ok=True)
    for name in (FLOORS_COPY, FLOORS):
        write_atomic(folder / name, json.dumps(floors, indent=1, sort_keys=True).encode())
    return message


def _check_signers(
    root: Path, documents: Dict[str, bytes], floor: Dict[str, Any], where: str, name: str, namespace: str
) -> List[str]:
    """Return the signers of the document `name`; the last statement determines who may sign and how many keys must."""
    content, signature = documents[name], documents.get(f"{name}.sig", b"")
    names, threshold = floor.get("signers") or [], int(floor.get("threshold", 1))
    parts = split_signatures(signature)
    signed: Dict[str, str] = {}
    reasons: List[str] = [] if parts else ["it is not signed"]
    for part in parts:
        try:
            result = check_signed(content, part, root / ALLOWED, namespace, f"{where}: {name}.sig")
        except DeviceError as error:
            reasons.append(error.what)
            continue
        if names and result["signer"] not in names:
            reasons.append(f"{result['signer']} may not sign for this channel")
        else:
            signed[str(result["key"])] = str(result["signer"])
    people = sorted({*signed.values()})
    if len(people) < threshold:
        missing = f"{len(people)} of {threshold} required signatures" + "".join(f"; {reason}" for reason in reasons)
        raise DeviceError(f"{name} has {missing}", where=where, remedy=_REMEDY)
    return people


def _check_subject(statement: Statement, release: str, channel: str, where: str) -> None:
    if statement.channel != channel:
        what = f'is stated for channel "{statement.channel}", and this device follows "{channel}"'
        raise DeviceError(what, where=where, remedy=_REMEDY)
    if release not in statement.releases:
        raise DeviceError(f"{STATEMENT} names another release: the two were mixed", where=where, remedy=_REMEDY)


def _check_expiry(statement: Statement, now: float, where: str) -> None:
    if statement.expires <= now:
        date = time.strftime("%Y-%m-%d", time.gmtime(statement.expires))
        raise DeviceError(f"expired on {date}: a newer one may be withheld", where=where, remedy=_REMEDY)


def _is_below(statement: Statement, floor: Dict[str, Any]) -> bool:
    """Return whether the counter is below the floor, or equal to it for another release."""
    counter = floor.get("counter", -1)
    return statement.counter < counter or (statement.counter == counter and statement.release != floor.get("release"))


def _check_permit(
    root: Path, documents: Dict[str, bytes], statement: Statement, floor: Dict[str, Any], now: float, where: str
) -> None:
    """Check the permit for a downgrade, signed in its own namespace for this release, channel and counter."""
    content = documents.get(PERMIT)
    if content is None:
        what = f"is older than what this device has seen: {statement.counter} is below {floor['counter']}"
        raise DeviceError(what, where=where, remedy="to go back on purpose, publish it with --allow-downgrade")
    _check_signers(root, documents, floor, where, PERMIT, DOWNGRADE)
    permit = parse_statement(content, f"{where}: {PERMIT}")
    subject = (permit.channel, permit.release, permit.counter)
    if subject != (statement.channel, statement.release, statement.counter) or permit.expires <= now:
        raise DeviceError(f"{PERMIT} permits another downgrade, or has expired", where=where)


def _read_floors(folder: Path) -> Dict[str, Any]:
    """Return the stored floors: of each channel the higher one of the two records.

    Raises:
        DeviceError: a record is damaged, because without floors every old release would pass.
    """
    floors: Dict[str, Any] = {"latest_time": 0.0, "channels": {}}
    for record in map(_read_record, (folder / FLOORS, folder / FLOORS_COPY)):
        floors["latest_time"] = max(floors["latest_time"], record["latest_time"])
        for channel, floor in record["channels"].items():
            if floor["counter"] > floors["channels"].get(channel, {"counter": -1})["counter"]:
                floors["channels"][channel] = floor
    return floors


def _read_record(path: Path) -> Dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
        channels = {
            str(name): {**floor, "counter": int(floor["counter"])} for name, floor in record["channels"].items()
        }
        return {"latest_time": float(record["latest_time"]), "channels": channels}
    except FileNotFoundError:
        return {"latest_time": 0.0, "channels": {}}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        other = FLOORS_COPY if path.name == FLOORS else FLOORS
        remedy = f"remove it if {other} beside it is intact, else restore it from a backup: without both, older releases pass"
        raise DeviceError(f"cannot be read: {error}", where=str(path), remedy=remedy) from None


def floor_of(folder: Path, channel: str) -> Optional[int]:
    """Return the highest counter accepted from a channel; None without one."""
    counter = _read_floors(folder)["channels"].get(channel, {}).get("counter")
    return None if counter is None else int(counter)
