"""Wheels made by the tests, fetched by a real pip from a folder, with no network."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from toolkit.errors import MachineError
from toolkit.progress import Silent
from toolkit.system.wheel_cache import Wheel, cached_path, fetch_wheel, read_member, read_members

FILE = "toolkit_test_wheel-1.0-py3-none-any.whl"


def make_wheel(folder: Path) -> Wheel:
    folder.mkdir()
    path = folder / FILE
    info = "toolkit_test_wheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside/b.bin", b"bee")
        archive.writestr("inside/a.bin", b"ay")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toolkit-test-wheel\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return Wheel("toolkit-test-wheel", "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), FILE)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip finds wheels in, and an empty cache."""
    folder = tmp_path / "shelf"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.slow
def test_fetch_wheel_asks_pip_once_when_called_twice(shelf: Path) -> None:
    wheel, progress = make_wheel(shelf), Silent()
    path = fetch_wheel(wheel, progress)
    assert fetch_wheel(wheel, progress) == path == cached_path(wheel)
    assert progress.messages == ["fetching toolkit-test-wheel 1.0 with pip"]
    assert [entry.name for entry in path.parent.iterdir()] == [FILE]


@pytest.mark.slow
def test_fetch_wheel_fetches_a_damaged_file_again(shelf: Path) -> None:
    wheel = make_wheel(shelf)
    path = fetch_wheel(wheel)
    path.write_bytes(b"damaged")
    assert hashlib.sha256(fetch_wheel(wheel).read_bytes()).hexdigest() == wheel.sha256


def test_fetch_wheel_says_where_the_file_belongs(shelf: Path) -> None:
    wheel = Wheel("toolkit-test-wheel", "1.0", "0" * 64, FILE)
    with pytest.raises(MachineError) as caught:
        fetch_wheel(wheel)
    problem = caught.value.problems[0]
    assert problem.where == str(cached_path(wheel))
    assert FILE in problem.remedy
    assert "0" * 64 in problem.remedy


def test_fetch_wheel_refuses_the_file_when_its_digest_is_another(shelf: Path) -> None:
    made = make_wheel(shelf)
    with pytest.raises(MachineError, match="could not be fetched"):
        fetch_wheel(Wheel(made.name, made.version, "0" * 64, FILE))
    assert not cached_path(Wheel(made.name, made.version, "0" * 64, FILE)).exists()


def test_fetch_wheel_takes_a_file_put_there_by_hand(shelf: Path) -> None:
    wheel = make_wheel(shelf)
    cached_path(wheel).parent.mkdir(parents=True)
    (shelf / FILE).rename(cached_path(wheel))
    assert fetch_wheel(wheel) == cached_path(wheel)


def test_fetch_wheel_says_so_when_there_is_no_pip(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(shelf)
    monkeypatch.setattr("toolkit.system.wheel_cache._pip", lambda: None)
    with pytest.raises(MachineError, match="no pip"):
        fetch_wheel(wheel)


def test_read_members_gives_them_in_order_when_some_match(shelf: Path) -> None:
    path = fetch_wheel(make_wheel(shelf))
    assert read_members(path, "inside/", ".bin") == {"inside/a.bin": b"ay", "inside/b.bin": b"bee"}
    assert read_member(path, "inside/b.bin") == b"bee"


def test_read_member_refuses_when_the_wheel_has_no_such_file(shelf: Path) -> None:
    with pytest.raises(MachineError, match="contains no inside/c"):
        read_member(fetch_wheel(make_wheel(shelf)), "inside/c.bin")
