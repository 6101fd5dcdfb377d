"""Which devices a channel admits: shares of 100,000 devices, labels, maintenance windows, and hostile rules."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.device.errors import DeviceError
from toolkit.device.release import cohort
from toolkit.device.release.cohort import (
    DAYS,
    CohortEntry,
    CohortRule,
    DeviceIdentity,
    identify,
    is_member,
    parse_labels,
    parse_rule,
    parse_window,
    position_of,
    reason_to_wait,
)

FLEET = tuple(f"pi-{number}" for number in range(100_000))
RELEASES = tuple(hashlib.sha256(bytes([number])).hexdigest() for number in range(4))
MONDAY_NOON = time.strptime("2026-11-30 12:00", "%Y-%m-%d %H:%M")
shares = st.floats(0, 1)
names = st.text(min_size=1, max_size=40)
labels = st.sets(st.sampled_from(["kitchen", "hall", "floor=2", "site=b"]))


def rule(*entries: CohortEntry, windows: tuple[str, ...] = (), halted: bool = False) -> CohortRule:
    return CohortRule(1, 0.0, entries, windows, halted)


def within(count: int, total: int, share: float) -> bool:
    """Whether a count is within five standard deviations of a binomial one."""
    return abs(count - total * share) <= 5 * math.sqrt(total * share * (1 - share))


@pytest.fixture(scope="module")
def positions() -> dict[str, list[float]]:
    """The position of each of 100,000 devices, for each release."""
    return {release: [position_of(release, name) for name in FLEET] for release in RELEASES}


@pytest.mark.parametrize("share", [0.001, 0.01, 0.25, 0.5, 0.99])
def test_share_of_100000_devices_is_within_binomial_bounds(positions: dict[str, list[float]], share: float) -> None:
    for of_release in positions.values():
        assert within(sum(position < share for position in of_release), len(FLEET), share)


def test_positions_of_100000_devices_fill_each_percent(positions: dict[str, list[float]]) -> None:
    for of_release in positions.values():
        counts = Counter(int(position * 100) for position in of_release)
        assert sorted(counts) == list(range(100))
        assert all(within(count, len(FLEET), 0.01) for count in counts.values())


@pytest.mark.parametrize("share", [0.01, 0.25])
def test_cohorts_of_two_releases_are_independent(positions: dict[str, list[float]], share: float) -> None:
    for one, other in combinations(RELEASES, 2):
        both = sum(a < share and b < share for a, b in zip(positions[one], positions[other], strict=True))
        assert within(both, len(FLEET), share * share)


@given(names, labels, st.lists(st.tuples(st.sampled_from(["", "kitchen", "floor=2"]), shares, shares)))
def test_member_stays_in_when_shares_grow(name: str, own: set[str], entries: list[tuple[str, float, float]]) -> None:
    identity = DeviceIdentity(name, frozenset(own))
    before = [CohortEntry(group, min(pair)) for group, *pair in entries]
    after = [CohortEntry(group, max(pair)) for group, *pair in entries]
    assert is_member(before, identity, "r") <= is_member(after, identity, "r")
    assert is_member([*before, CohortEntry("", 1.0)], identity, "r")
    assert not is_member([CohortEntry("", 0.0)], identity, "r")


def test_labels_admit_devices_of_a_group_alone() -> None:
    kitchen, hall = DeviceIdentity("a", frozenset({"kitchen"})), DeviceIdentity("b", frozenset({"hall", "floor=2"}))
    entries = (CohortEntry("kitchen", 1.0),)
    assert (is_member(entries, kitchen, "r"), is_member(entries, hall, "r")) == (True, False)
    assert is_member((*entries, CohortEntry("floor=2", 1.0)), hall, "r")


def test_reason_to_wait_says_what_holds_the_device() -> None:
    one = DeviceIdentity("pi-1")
    assert reason_to_wait(None, one, "r", MONDAY_NOON) is None
    everyone = CohortEntry("", 1.0)
    assert reason_to_wait(rule(everyone), one, "r", MONDAY_NOON) is None
    out = reason_to_wait(rule(CohortEntry("", 0.0)), one, "r", MONDAY_NOON)
    assert (
        out
        == f"not in batch 1 yet: this device is at {position_of('r', 'pi-1'):.2%} of the order, and the batch ends at 0.00%"
    )
    halted = rule(everyone, halted=True)
    assert reason_to_wait(halted, one, "r", MONDAY_NOON) == "the rollout is halted in batch 1"
    assert reason_to_wait(halted, one, "r", MONDAY_NOON, tried=True) is None
    closed = rule(everyone, windows=("22:00-05:00", "sat 10:00-14:00"))
    shown = "outside the maintenance windows: 22:00-05:00; sat 10:00-14:00; local time is mon 12:00"
    assert reason_to_wait(closed, one, "r", MONDAY_NOON) == shown
    assert reason_to_wait(rule(everyone, windows=("22:00-05:00", "11:59-12:01")), one, "r", MONDAY_NOON) is None


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        ("22:00-05:00", "mon 22:00", True),
        ("22:00-05:00", "tue 04:59", True),
        ("22:00-05:00", "tue 05:00", False),
        ("22:00-05:00", "mon 21:59", False),
        ("fri 22:00-05:00", "sat 03:00", True),
        ("fri 22:00-05:00", "sat 22:30", False),
        ("fri 22:00-05:00", "fri 03:00", False),
        ("sun 22:00-05:00", "mon 03:00", True),
        ("sat,sun 00:00-24:00", "sun 23:59", True),
        ("sat,sun 00:00-24:00", "mon 00:00", False),
        ("mon-fri 09:00-12:30", "fri 12:29", True),
        ("fri-mon 09:00-12:30", "sun 09:00", True),
        ("fri-mon 09:00-12:30", "tue 09:00", False),
        ("23:00-00:00", "mon 23:30", True),
    ],
)
def test_windows_open_and_close(window: str, moment: str, is_open: bool) -> None:
    day, _, clock = moment.partition(" ")
    date = f"2026-11-{30 - 7 + DAYS.index(day)}"  # the 23rd is a Monday
    assert parse_window(window).is_open(time.strptime(f"{date} {clock}", "%Y-%m-%d %H:%M")) is is_open


@given(st.integers(0, 1439), st.integers(0, 1439))
def test_a_window_and_its_complement_never_overlap(start: int, end: int) -> None:
    clocks = [f"{minute // 60:02}:{minute % 60:02}" for minute in (start, end)]
    if start == end:
        with pytest.raises(DeviceError, match="is not a maintenance window"):
            parse_window("-".join(clocks))
        return
    there, back = parse_window("-".join(clocks)), parse_window("-".join(reversed(clocks)))
    for minute in {0, start, end, (start - 1) % 1440, (end - 1) % 1440, 1439}:
        now = time.strptime(f"2026-11-30 {minute // 60}:{minute % 60}", "%Y-%m-%d %H:%M")
        assert there.is_open(now) != back.is_open(now)


@pytest.mark.parametrize(
    "text", ["", "22-05", "22:00", "25:00-05:00", "22:60-05:00", "24:00-05:00", "07:00-24:01", "mo 22:00-05:00",
             "mon- 22:00-05:00", "mon 05:00-05:00", "mon,,tue 22:00-05:00", "22:00-05:00 UTC", "٢٢:00-05:00"],
)  # fmt: skip
def test_parse_window_refuses_by_name_what_is_not_one(text: str) -> None:
    with pytest.raises(DeviceError, match=r"is not a maintenance window") as caught:
        parse_window(text)
    assert repr(text) in caught.value.what
    assert "22:00-05:00" in caught.value.remedy


def test_labels_are_refused_by_name() -> None:
    assert parse_labels(["kitchen", "floor=2", "kitchen"]) == {"kitchen", "floor=2"}
    for bad in ("", "a b", "a,b", "a\n", "a%b", "x" * 129):
        with pytest.raises(DeviceError, match="is not a label"):
            parse_labels(["kitchen", bad])
    with pytest.raises(DeviceError, match="65 labels are too many"):
        parse_labels(str(number) for number in range(65))


def test_identity_is_the_reported_name_or_the_machine_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(cohort, "_MACHINE_ID", tmp_path / "machine-id")
    assert identify("").name != ""
    (tmp_path / "machine-id").write_text("0123abcd\n")
    assert identify("", ["kitchen"]) == DeviceIdentity("0123abcd", frozenset({"kitchen"}))
    assert identify("pi-1").name == "pi-1"


VALID: dict[str, Any] = {
    "batch": 2, "since": 5, "cohort": [{"group": "kitchen", "share": 1}, {"group": "", "share": 0.25}],
    "windows": ["22:00-05:00"], "halted": False,
}  # fmt: skip


def test_parse_rule_reads_what_a_statement_says() -> None:
    entries = (CohortEntry("kitchen", 1), CohortEntry("", 0.25))
    assert parse_rule(VALID) == CohortRule(2, 5, entries, ("22:00-05:00",), halted=False)
    assert parse_rule(None) is None


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 0}, {"batch": True}, {"batch": "1"}, {"since": -1}, {"since": float("nan")}, {"halted": 0},
        {"cohort": 1}, {"cohort": [1]}, {"cohort": [{"group": "a"}]}, {"cohort": [{"group": "a b", "share": 1}]},
        {"cohort": [{"group": "a", "share": 1.1}]}, {"cohort": [{"group": "a", "share": float("nan")}]},
        {"cohort": [{"group": 1, "share": 1}]}, {"cohort": [{"group": "", "share": True}]},
        {"cohort": [{"group": "", "share": 1}] * 65}, {"windows": "22:00-05:00"}, {"windows": [1]},
        {"windows": ["22:00"]}, {"windows": ["22:00-05:00"] * 65}, {"windows": None},
    ],
)  # fmt: skip
def test_parse_rule_refuses_what_is_not_valid(change: dict[str, Any]) -> None:
    with pytest.raises(DeviceError):
        parse_rule({**VALID, **change})


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_parse_rule_gives_a_rule_or_a_device_error(value: Any) -> None:
    try:
        result = parse_rule(json.loads(json.dumps(value)))
    except DeviceError:
        return
    assert result is None
