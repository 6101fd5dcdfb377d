"""Captures on a disk of 200 KiB, mounted for the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.device.app.captures.test_recorder import stored, wait_for
from toolkit.device.app.captures.capture_settings import CaptureLimits, CaptureSettings
from toolkit.device.app.captures.recorder import CaptureRecorder

from .test_recorder import frame

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "captures"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_holds_whole_captures_only(tmp_path: Path, disk: Path) -> None:
    settings = CaptureSettings(disk, CaptureLimits(cool_down_s=0, reserve_mib=0), ("unsure",))
    captures = CaptureRecorder(settings, "cam", lambda _: None)
    captures.start()
    number = 0
    while not captures.problem:
        number += 1
        before = sum(captures.state()[name] for name in ("stored", "failed"))
        captures.see(frame(number))
        wait_for(lambda before=before: sum(captures.state()[name] for name in ("stored", "failed")) > before)  # type: ignore[misc]
    assert "No space left" in str(captures.problem)
    assert captures.end(10)
    assert 0 < len(stored(tmp_path)) == captures.state()["stored"] < 200
    assert not [*disk.glob("*/.*")]
    again = CaptureRecorder(settings, "cam", lambda _: None)
    again.start()
    wait_for(lambda: again.state()["held"] == len(stored(tmp_path)))
    assert again.end(10)
