"""Cohorts: which devices the signed statement of a channel admits to its release now, and in which maintenance windows.

    "rollout": {"batch": 2, "since": 1790000000, "halted": false, "windows": ["mon-fri 22:00-05:00"],
                "cohort": [{"group": "kitchen", "share": 1.0}, {"group": "", "share": 0.25}]}

A device is in the cohort if one entry names one of its labels, or "", which means every device, and the device's position is
below the entry's share. The position is a hash of the release's digest and the device's name, uniform between 0 and 1.
It is the same at every poll, so a device that is in stays in when the share is raised. It differs from release to release, so
not always the same devices are first. Windows are in the device's local time.
"""

from __future__ import annotations

import hashlib
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, FrozenSet, Iterable, Optional, Tuple

from ..errors import DeviceError

MAX_ENTRIES = 64
"""Of a cohort and of a list of windows, and how many labels a device may have."""
MAX_BATCHES = 1_000_000
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DIGITS = 13  # 52 bits, which a float holds exactly
_LABEL = re.compile(r"[\w.:=@/+-]{1,128}")
_WINDOW = re.compile(r"(?:([a-z,-]{3,64}) )?(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_DAY_MINUTES = 24 * 60
_MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True)
class CohortEntry:
    """A share of the devices with a label."""

    group: str
    """A label of devices; empty: all devices."""
    share: float
    """From 0 to 1."""


@dataclass(frozen=True)
class CohortRule:
    """The part of a channel's statement that stages its release."""

    batch: int
    """From 1."""
    since: float
    """When the batch began, in seconds since 1970."""
    cohort: Tuple[CohortEntry, ...]
    windows: Tuple[str, ...] = ()
    """When devices may switch; empty: at any time."""
    halted: bool = False
    """Whether devices that have not tried the release wait, whatever the cohort."""


@dataclass(frozen=True)
class DeviceIdentity:
    """What decides which cohorts a device is in."""

    name: str
    labels: FrozenSet[str] = frozenset()


@dataclass(frozen=True)
class MaintenanceWindow:
    """Minutes of a day; a window that ends at or before its start ends on the next day."""

    days: FrozenSet[int]
    """On which the window starts; 0 is Monday."""
    start: int
    end: int

    def is_open(self, now: time.struct_time) -> bool:
        """Return whether the time is in the window."""
        minute, today = now.tm_hour * 60 + now.tm_min, now.tm_wday
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        yesterday = (today - 1) % 7
        return (today in self.days and minute >= self.start) or (yesterday in self.days and minute < self.end)


def parse_window(text: str) -> MaintenanceWindow:
    """Return the window of "22:00-05:00", "sat,sun 00:00-24:00" or "mon-fri 22:00-05:00".

    Raises:
        DeviceError: the text is not a window.
    """
    match = _WINDOW.fullmatch(text)
    days = _parse_days(match[1]) if match else None
    hours = [int(part) for part in match.groups()[1:]] if match else []
    start, end = (hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]) if hours else (0, 0)
    valid = days and all(minute < 60 for minute in hours[1::2]) and start < _DAY_MINUTES and end <= _DAY_MINUTES
    if not days or not valid or start == end:
        remedy = 'write it as 22:00-05:00, "mon-fri 22:00-05:00" or "sat,sun 00:00-24:00"'
        raise DeviceError(f"{text[:80]!r} is not a maintenance window", remedy=remedy)
    return MaintenanceWindow(days, start, end)


def _parse_days(text: Optional[str]) -> Optional[FrozenSet[int]]:
    """Return the days of "mon,wed" or "fri-mon"; all of them for None, and None if one is not a day."""
    if text is None:
        return frozenset(range(7))
    days = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            return None
        begin, count = DAYS.index(first), (DAYS.index(last or first) - DAYS.index(first)) % 7 + 1
        days |= {(begin + day) % 7 for day in range(count)}
    return frozenset(days)


def parse_labels(texts: Iterable[str]) -> FrozenSet[str]:
    """Return the labels of a device: the names of its groups, and VARIABLE=VALUE.

    Raises:
        DeviceError: one is not a label, or there are too many.
    """
    labels = frozenset(texts)
    for label in sorted(labels):
        if not _LABEL.fullmatch(label):
            remedy = "use letters, digits and _ . : = @ / + -, such as kitchen or floor=2"
            raise DeviceError(f"{label[:150]!r} is not a label", remedy=remedy)
    if len(labels) > MAX_ENTRIES:
        raise DeviceError(f"{len(labels)} labels are too many", remedy=f"give at most {MAX_ENTRIES}")
    return labels


def parse_rule(value: Any) -> Optional[CohortRule]:
    """Return the rule in a statement; None without one.

    Raises:
        DeviceError: the value is not a rule.
    """
    if value is None:
        return None
    try:
        rule = CohortRule(
            value["batch"],
            value["since"],
            tuple(CohortEntry(entry["group"], entry["share"]) for entry in value["cohort"]),
            tuple(value["windows"]),
            value["halted"],
        )
    except (KeyError, TypeError):
        raise DeviceError("has no valid rule for its rollout") from None
    if not _is_valid(rule):
        raise DeviceError("has no valid rule for its rollout")
    for window in rule.windows:
        parse_window(window)
    return rule


def _is_valid(rule: Any) -> bool:
    return (
        type(rule.batch) is int
        and 1 <= rule.batch <= MAX_BATCHES
        and type(rule.since) in {int, float}
        and 0 <= rule.since < 1 << 53
        and type(rule.halted) is bool
        and len(rule.cohort) <= MAX_ENTRIES
        and all(map(_is_valid_entry, rule.cohort))
        and len(rule.windows) <= MAX_ENTRIES
        and all(isinstance(window, str) for window in rule.windows)
    )


def _is_valid_entry(entry: Any) -> bool:
    named = isinstance(entry.group, str) and (not entry.group or bool(_LABEL.fullmatch(entry.group)))
    return named and type(entry.share) in {int, float} and 0 <= entry.share <= 1


def identify(name: str, labels: Iterable[str] = ()) -> DeviceIdentity:
    """Return the identity of this device: by the name that it reports under, else by its machine-id, else by its host name.

    Raises:
        DeviceError: a label is not valid.
    """
    try:
        machine = _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = ""
    return DeviceIdentity(name or machine or platform.node(), parse_labels(labels))


def position_of(release: str, name: str) -> float:
    """Return the place of a device in the order in which this release reaches the fleet: at least 0, below 1."""
    digest = hashlib.sha256(f"{release}\n{name}".encode("utf-8", "surrogateescape")).hexdigest()
    return float(int(digest[:_DIGITS], 16) / 16**_DIGITS)


def is_member(cohort: Iterable[CohortEntry], identity: DeviceIdentity, release: str) -> bool:
    """Return whether a device is in the cohort of a release."""
    return position_of(release, identity.name) < _share_of(cohort, identity)


def _share_of(cohort: Iterable[CohortEntry], identity: DeviceIdentity) -> float:
    """Return the largest share among the entries that concern a device."""
    shares = [entry.share for entry in cohort if not entry.group or entry.group in identity.labels]
    return max(shares, default=0.0)


def reason_to_wait(
    rule: Optional[CohortRule], identity: DeviceIdentity, release: str, now: time.struct_time, *, tried: bool = False
) -> Optional[str]:
    """Return why a device does not take the release now; None if it may.

    A halted rollout holds the devices that have not `tried` the release: one that failed may try again and recover.
    """
    if rule is None:
        return None
    if not is_member(rule.cohort, identity, release):
        share, position = _share_of(rule.cohort, identity), position_of(release, identity.name)
        return f"not in batch {rule.batch} yet: this device is at {position:.2%} of the order, and the batch ends at {share:.2%}"
    if rule.halted and not tried:
        return f"the rollout is halted in batch {rule.batch}"
    if rule.windows and not any(parse_window(text).is_open(now) for text in rule.windows):
        local = f"{DAYS[now.tm_wday]} {now.tm_hour:02}:{now.tm_min:02}"
        return f"outside the maintenance windows: {'; '.join(rule.windows)}; local time is {local}"
    return None
