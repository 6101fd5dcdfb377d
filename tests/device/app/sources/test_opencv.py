from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.device.app.sources.base import SourceLost
from toolkit.device.app.sources.opencv import VideoFile


def write_video(path: Path, levels: list[int], fps: float = 10, codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (64, 48))
    for level in levels:
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


def levels_of(video: VideoFile, count: int) -> list[int]:
    video.open()
    levels = [round(float(np.mean(video.read())), -1) for _ in range(count)]
    video.close()
    return [int(level) for level in levels]


@pytest.mark.parametrize(("own", "requested", "fps"), [(10, 25, 10), (30, 25, 25), (10, 0, None)])
def test_video_sets_its_own_pace_up_to_the_requested_rate(
    tmp_path: Path, own: float, requested: float, fps: float | None
) -> None:
    video = VideoFile(write_video(tmp_path / "v.avi", [20, 120], own), requested)
    video.open()
    assert video.fps == (None if fps is None else pytest.approx(fps))
    video.close()


def test_video_leaves_frames_out_when_fewer_are_requested(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", [20, 60, 100, 140, 180, 220], fps=20)
    assert levels_of(VideoFile(path, 10), 4) == [20, 100, 180, 20]
    assert levels_of(VideoFile(path, 25), 4) == [20, 60, 100, 140]


def test_video_without_frames_is_lost_with_the_reason(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", [20, 120] * 20, codec="mp4v").read_bytes()
    broken = tmp_path / "broken.mp4"
    for content, reason in (
        (b"", "is an empty file"),
        (whole[: len(whole) // 2], "is truncated"),
        (b"no video at all" * 100, "contains no video frame"),
    ):
        broken.write_bytes(content)
        with pytest.raises(SourceLost, match=reason):
            VideoFile(broken, 25).open()
