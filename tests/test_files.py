from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toolkit.files import atomic_write, csv_bytes, csv_text, part_folder


def test_atomic_write_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_write(path) as stream:
            stream.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_names_the_file_for_which_there_is_no_space(tmp_path: Path) -> None:
    """As `write` to an open file raises it: without a name."""
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "f"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_atomic_write_replaces_when_writing_ends(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "f") as stream:
        stream.write(b"new")
    assert (tmp_path / "new" / "f").read_bytes() == b"new"


def test_atomic_write_keeps_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    with atomic_write(tmp_path / "link") as stream:
        stream.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


KILLED = """
import os, signal, sys
from pathlib import Path
from toolkit.files import atomic_write, part_folder
with part_folder(Path(sys.argv[1])) as part, atomic_write(Path(sys.argv[1], "f")) as stream:
    (part / "half").write_text("half")
    print("written", flush=True)
    os.kill(os.getpid(), signal.SIGKILL) if sys.argv[2] == "die" else sys.stdin.read()
"""


def test_parts_are_removed_once_their_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    dead = subprocess.run([*command, "die"], stdout=subprocess.PIPE, check=False)
    with subprocess.Popen([*command, "wait"], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as alive:
        assert alive.stdout is not None
        assert (dead.stdout, alive.stdout.readline()) == (b"written\n",) * 2
        assert len(list(tmp_path.iterdir())) == 2, "the second process has removed the parts of the first"
        with part_folder(tmp_path) as own:
            assert len(list(tmp_path.iterdir())) == 3, "those of the second are in use"
            assert own.is_dir()
        alive.communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_atomic_write_goes_through_a_fifo(tmp_path: Path) -> None:
    fifo, received = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    with atomic_write(fifo) as stream:
        stream.write(b"new")
    reader.join(60)
    assert (received, fifo.is_fifo()) == ([b"new"], True)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_atomic_write_goes_through_stdout(name: str, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from toolkit.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as stream: stream.write(b'new')"
    )
    done = subprocess.run([sys.executable, "-c", script, name], cwd=tmp_path, capture_output=True, check=True)
    assert (done.stdout, list(tmp_path.iterdir())) == (b"new", [])


def test_atomic_write_goes_through_a_device() -> None:
    with atomic_write(Path("/dev/null")) as stream:
        stream.write(b"new")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("value", "expected"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("with_mask", "with_mask"), (-1.5, -1.5), (None, None)]
)
def test_csv_text_is_no_formula(value: object, expected: object) -> None:
    assert csv_text(value) == expected


def test_csv_bytes_has_the_columns_of_all_rows() -> None:
    rows = [{"a": 1, "b": None}, {"b": True, "c": 0.1 + 0.2}, {"a": "=1", "c": 'x,"y"\n'}]
    content = csv_bytes(rows).decode()
    assert content == 'a,b,c\r\n1,,\r\n,true,0.30000000000000004\r\n\'=1,,"x,""y""\n"\r\n'
