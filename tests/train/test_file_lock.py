from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.train.file_lock import file_lock
from toolkit.train.run_dir import remove_partial_files

HOLDING = """
import sys
from pathlib import Path
from toolkit.train.file_lock import file_lock
with file_lock(Path(sys.argv[1]), waiting=lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_held_waits_until_the_holder_is_gone_however_it_went(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "one"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waited = []

    def kill() -> None:
        waited.append(True)
        holder.kill()

    with file_lock(path, waiting=kill):
        assert holder.wait() == -9
    assert waited == [True]
    with file_lock(path, waiting=kill):
        assert waited == [True]


def test_tidy_removes_what_was_half_written_and_nothing_else(tmp_path: Path) -> None:
    remaining = {"checkpoint.npz", "model.keras", ".a.npy.lock"}
    for name in (*remaining, ".checkpoint.npz.x1.part", ".part-model.keras", ".b.npy.x2.part"):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path, "b.npy")
    assert {path.name for path in tmp_path.iterdir()} == {*remaining, ".checkpoint.npz.x1.part", ".part-model.keras"}
    remove_partial_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == remaining


def test_held_is_released_when_holder_ends_before_its_fork(tmp_path: Path) -> None:
    path = tmp_path / "one"
    forking = HOLDING.replace("    sys.stdin.read()", "    os.fork() or sys.stdin.read()\n    os._exit(0)")
    holder = subprocess.Popen([sys.executable, "-c", f"import os{forking}", path], stdin=subprocess.PIPE)
    assert holder.wait() == 0
    with file_lock(path, waiting=lambda: pytest.fail("a fork holds the lock")):
        assert holder.stdin is not None
        holder.stdin.close()  # which ends the fork
