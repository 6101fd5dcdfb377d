"""Versions, ordered as dpkg and pip order them, and in the ranges of OSV."""

from __future__ import annotations

import shutil
import subprocess

import ordering
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

RISING = [
    "1.0~~",
    "1.0~rc1-1",
    "1.0~rc1+dfsg-1",
    "1.0-1",
    "1.0-1+deb12u1",
    "1.0a-1",
    "1.0+b1-1",
    "1.0.1-1",
    "1.2",
    "1.10",
    "1:0.1",
]
VERSIONS = st.from_regex(r"([0-2]:)?[0-9][0-9a-c.+~]{0,5}(-[0-9a-c.+~]{1,4})?", fullmatch=True)


def test_debian_puts_versions_into_the_order_of_dpkg() -> None:
    assert sorted(RISING, key=ordering.debian) == RISING


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is Debian's")
@given(VERSIONS, VERSIONS)
@settings(max_examples=60, deadline=None)
def test_debian_agrees_with_dpkg(one: str, other: str) -> None:
    done = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False, stderr=subprocess.DEVNULL)
    assert (ordering.debian(one) < ordering.debian(other)) is (done.returncode == 0)


def test_wheel_counts_what_is_no_version_as_oldest() -> None:
    assert ordering.wheel("not one") < ordering.wheel("0.1") < ordering.wheel("0.10") < ordering.wheel("1.0.post1")


@pytest.mark.parametrize(
    ("version", "affected"),
    [("0.9", False), ("1.0", True), ("1.4.9", True), ("1.5", False), ("2.0", True), ("2.3", True), ("2.3.1", False)],
)
def test_in_events_follows_several_ranges(version: str, affected: bool) -> None:
    events = [{"introduced": "2.0"}, {"last_affected": "2.3"}, {"introduced": "1.0"}, {"fixed": "1.5"}]
    assert ordering.in_events(version, events, ordering.wheel)[0] is affected


def test_in_events_names_the_version_that_ends_it() -> None:
    events = [{"introduced": "0"}, {"fixed": "1.5"}, {"introduced": "2.0"}]
    assert ordering.in_events("1.0", events, ordering.wheel) == (True, "1.5")
    assert ordering.in_events("2.1", events, ordering.wheel) == (True, "")
