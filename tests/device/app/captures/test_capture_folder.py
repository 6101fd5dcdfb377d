"""Limits, retention, power cuts and clocks that are set."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from toolkit.device.app.captures.capture_folder import DAY_S, CaptureFolder, FolderInUseError
from toolkit.device.app.captures.capture_settings import MIB, CaptureLimits
from toolkit.device.capture_record import CaptureRecord, read_record

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()


class Clocks:
    """A clock that can be set, and a monotonic one."""

    def __init__(self) -> None:
        self.wall, self.steady = NOON, 100.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


Open = Callable[..., CaptureFolder]


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def opened(tmp_path: Path, clocks: Clocks) -> Open:
    def call(free_bytes: int = 1 << 40, **limits: float) -> CaptureFolder:
        own = CaptureLimits(**limits)  # type: ignore[arg-type]
        folder = CaptureFolder(
            tmp_path / "captures", own, lambda: clocks.wall, lambda _: free_bytes, lambda: clocks.steady
        )
        folder.open()
        return folder

    return call


def add(
    folder: CaptureFolder,
    clocks: Clocks,
    content: str,
    label: str = "a",
    policy: str = "unsure",
    *,
    synchronized: bool = True,
) -> str:
    """Store a capture a second later; return its digest."""
    clocks.pass_by(1)
    jpeg = content.encode()
    digest = hashlib.sha256(jpeg).hexdigest()
    time = datetime.fromtimestamp(clocks.wall, UTC).isoformat()
    record = CaptureRecord(digest, "r" * 64, "cam", time, policy, label, 0.6, (0.6, 0.4), None, synchronized)
    folder.add(record, jpeg)
    return digest


def listed(tmp_path: Path) -> set[str]:
    """Return the digests of whole captures on the disk."""
    names = [file.name for file in (tmp_path / "captures").glob("*/*")]
    assert not [name for name in names if name.startswith(".")]
    digests = {name[:64] for name in names}
    assert sorted(names) == sorted(digest + suffix for digest in digests for suffix in (".jpg", ".json"))
    return digests


def test_capture_is_found_under_its_day_and_digest(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    folder = opened()
    digest = add(folder, clocks, "one")
    place = tmp_path / "captures" / "2026-11-30" / f"{digest}.jpg"
    assert place.read_bytes() == b"one"
    assert read_record(place.with_suffix(".json").read_bytes(), digest).label == "a"
    assert folder.holds(digest)
    assert (folder.count, folder.size_bytes) == (1, 3)


def test_restart_lists_what_is_there(opened: Open, clocks: Clocks) -> None:
    first = opened()
    digests = {add(first, clocks, text) for text in "xyz"}
    first.close()
    again = opened()
    assert again.count == 3
    assert all(map(again.holds, digests))


def test_a_second_app_may_not_use_the_folder(opened: Open) -> None:
    first = opened()
    with pytest.raises(FolderInUseError):
        opened()
    first.close()
    opened().close()


def test_oldest_of_the_best_covered_class_goes_first(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    folder = opened(most=4)
    rare = add(folder, clocks, "rare", "b")
    many = [add(folder, clocks, f"a{number}") for number in range(3)]
    new = add(folder, clocks, "c", "c")
    assert listed(tmp_path) == {rare, *many[1:], new}
    assert folder.evicted == 1


def test_quota_of_a_class_removes_its_oldest(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    folder = opened(most_of_class=2)
    other = add(folder, clocks, "other", "b")
    digests = [add(folder, clocks, f"a{number}") for number in range(4)]
    assert listed(tmp_path) == {other, *digests[2:]}


def test_size_is_limited(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    folder = opened(most_mib=1)
    digests = [add(folder, clocks, f"{number}" * (MIB // 3)) for number in range(5)]
    assert listed(tmp_path) == {*digests[2:]}
    assert folder.size_bytes <= MIB


def test_random_captures_stay_a_fair_sample(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    """They are removed by age, whatever their class, and only beyond half of the quota."""
    folder = opened(most=6)
    fair = [add(folder, clocks, f"r{number}", "ab"[number % 2], "random") for number in range(3)]
    for number in range(8):
        add(folder, clocks, f"u{number}")
    assert {*fair} < listed(tmp_path)
    fair += [add(folder, clocks, f"s{number}", "a", "random") for number in range(4)]
    left = [digest for digest in fair if digest in listed(tmp_path)]
    assert left == fair[-len(left) :]
    assert len(left) >= 3


def test_retention_removes_what_is_too_old(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    folder = opened(retention_days=2)
    add(folder, clocks, "old")
    clocks.pass_by(DAY_S)
    young = add(folder, clocks, "young")
    clocks.pass_by(DAY_S + 10)
    folder.tend()
    assert listed(tmp_path) == {young}
    assert folder.expired == 1
    folder.tend()
    assert [each.name for each in (tmp_path / "captures").iterdir() if each.is_dir()] == ["2026-12-01"]


def test_deletion_from_outside_frees_the_quota(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    folder = opened()
    digest = add(folder, clocks, "one")
    for file in (tmp_path / "captures").glob(f"*/{digest}.json"):
        file.unlink()
    folder.tend()
    assert folder.count == folder.size_bytes == 0
    assert not [*(tmp_path / "captures").glob("*/*.jpg")]


@pytest.mark.parametrize("left", ["part", "image", "json", "empty image", "cut json", "link", "folder"])
def test_power_cut_leaves_nothing_behind(tmp_path: Path, opened: Open, clocks: Clocks, left: str) -> None:
    first = opened()
    good, cut = add(first, clocks, "good"), add(first, clocks, "cut")
    first.close()
    image = tmp_path / "captures" / "2026-11-30" / f"{cut}.jpg"
    document = image.with_suffix(".json")
    if left == "part":
        image.rename(image.with_name(f".{image.name}.part"))
        document.unlink()
    elif left == "image":
        document.unlink()
    elif left == "json":
        image.unlink()
    elif left == "empty image":
        image.write_bytes(b"")
    elif left == "cut json":
        document.write_bytes(document.read_bytes()[:20])
    elif left == "link":
        image.unlink()
        document.unlink()
        (image.parent / "x").symlink_to("/etc/passwd")
    else:
        image.unlink()
        document.unlink()
        (image.parent / "folder" / "in").mkdir(parents=True)
    folder = opened()
    assert listed(tmp_path) == {good}
    assert folder.count == 1
    assert Path("/etc/passwd").exists()


def test_full_disk_leaves_no_part(
    tmp_path: Path, opened: Open, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened()
    good = add(folder, clocks, "good")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        add(folder, clocks, "more")
    assert listed(tmp_path) == {good}
    assert folder.count == 1


def test_reserve_of_the_disk_is_left_free(opened: Open) -> None:
    folder = opened(free_bytes=10 * MIB, reserve_mib=10)
    assert folder.has_room()
    folder.close()
    assert not opened(free_bytes=10 * MIB - 1, reserve_mib=10).has_room()


def test_clock_set_forwards_expires_nothing_early(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    """A device without a clock of its own starts in the past, and is set by the network."""
    clocks.wall = 1000.0
    folder = opened(retention_days=2)
    digest = add(folder, clocks, "one", synchronized=False)
    clocks.wall = NOON
    folder.tend()
    assert listed(tmp_path) == {digest}
    clocks.pass_by(2 * DAY_S + 10)
    folder.tend()
    assert listed(tmp_path) == set()


def test_clock_set_back_keeps_the_retention(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    folder = opened(retention_days=2)
    digest = add(folder, clocks, "one")
    clocks.wall -= 300 * DAY_S
    folder.tend()
    clocks.pass_by(DAY_S)
    folder.tend()
    assert listed(tmp_path) == {digest}
    clocks.pass_by(DAY_S + 10)
    folder.tend()
    assert listed(tmp_path) == set()


def test_captures_before_the_clock_was_set_survive_a_restart(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    """Their retention begins once at the next start, and not again at those after."""
    clocks.wall = 1000.0
    first = opened(retention_days=2)
    digest = add(first, clocks, "one", synchronized=False)
    first.close()
    clocks.wall = NOON
    for _ in range(2):
        folder = opened(retention_days=2)
        folder.tend()
        folder.close()
        assert listed(tmp_path) == {digest}
        clocks.pass_by(0.9 * DAY_S)
    clocks.pass_by(0.3 * DAY_S)
    folder = opened(retention_days=2)
    folder.tend()
    assert listed(tmp_path) == set()


def test_captures_from_the_future_do_not_stay_for_ever(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    clocks.wall += 4000 * DAY_S
    first = opened(retention_days=2)
    digest = add(first, clocks, "one")
    first.close()
    clocks.wall = NOON
    folder = opened(retention_days=2)
    folder.tend()
    assert listed(tmp_path) == {digest}
    clocks.pass_by(2 * DAY_S + 10)
    folder.tend()
    assert listed(tmp_path) == set()


def test_group_may_read_and_others_may_not(tmp_path: Path, opened: Open, clocks: Clocks) -> None:
    before = os.umask(0o007)
    try:
        digest = add(opened(), clocks, "one")
    finally:
        os.umask(before)
    day = tmp_path / "captures" / "2026-11-30"
    assert day.stat().st_mode & 0o777 == 0o770
    assert {(day / f"{digest}{suffix}").stat().st_mode & 0o777 for suffix in (".jpg", ".json")} == {0o640}
    assert json.loads((day / f"{digest}.json").read_bytes())["digest"] == digest
