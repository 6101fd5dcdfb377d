from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit.device.app.pipeline.capture import FrameCapture
from toolkit.device.app.pipeline.messages import Counters, DropOldestQueue, Frame
from toolkit.device.app.sources.base import DamagedFrameError, SourceLost
from toolkit.device.app.sources.files import ImageFolder

JPEG = cv2.imencode(".jpg", np.full((16, 16, 3), 200, np.uint8))[1].tobytes()
PNG = cv2.imencode(".png", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
DAMAGED = {
    "empty.jpg": b"",
    "half.jpg": JPEG[: len(JPEG) // 2],
    "half.png": PNG[: len(PNG) // 2],
    "text.jpg": b"<html>not found</html>",
    "random.png": bytes(range(256)),
}


@pytest.mark.parametrize("name", [*DAMAGED, "folder.jpg", "gone.png"])
def test_folder_skips_a_damaged_file_and_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "z.png").write_bytes(PNG)
    if name == "gone.png":
        (tmp_path / name).symlink_to(tmp_path / "nowhere")
    elif name == "folder.jpg":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(DAMAGED[name])
    folder = ImageFolder(tmp_path)
    folder.open()
    assert folder.read() == JPEG
    with pytest.raises(DamagedFrameError, match=name):
        folder.read()
    assert not isinstance(folder.read(), bytes)
    assert folder.read() == JPEG


def test_folder_of_damaged_files_alone_is_lost(tmp_path: Path) -> None:
    for name, content in DAMAGED.items():
        (tmp_path / name).write_bytes(content)
    folder = ImageFolder(tmp_path)
    folder.open()
    for _ in DAMAGED:
        with pytest.raises(DamagedFrameError):
            folder.read()
    with pytest.raises(SourceLost, match="none of its 5 images can be read"):
        folder.read()


def test_capture_counts_and_names_a_damaged_file_once(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "b.jpg").write_bytes(JPEG[:300])
    captured: DropOldestQueue[Frame] = DropOldestQueue(2)
    counters, messages = Counters(), []
    capture = FrameCapture(ImageFolder(tmp_path), captured, counters, messages.append)
    capture.start()
    frames = [captured.take(10) for _ in range(4)]
    capture.stop()
    capture.join(60)
    assert [frame.jpeg for frame in frames] == [JPEG] * 4
    assert counters["damaged"] >= 3
    assert counters["camera_losses"] == 0
    assert [text for text in messages if text.startswith("skipped")] == [
        f"skipped {tmp_path / 'b.jpg'}: truncated JPEG: it ends after 300 bytes without the end marker"
    ]
