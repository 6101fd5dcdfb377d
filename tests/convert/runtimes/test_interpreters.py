"""Where the Python of old runtimes comes from. The real unpacking is runs with `just test-legacy`: it needs Debian on x86-64."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

import toolkit
from toolkit import compat
from toolkit.convert.runtimes import bullseye_python, interpreters, legacy_openvino
from toolkit.errors import MachineError
from toolkit.progress import Silent

NOBODY = 65534


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a Python 3.9: an own home, an own cache, and of PATH only what Debian has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TOOLKIT_PYTHON39", raising=False)
    return tmp_path


def test_lock_names_what_the_images_are_made_of() -> None:
    images = Path(toolkit.__file__).parents[1] / "images/base/bullseye-amd64.lock"
    assert set(bullseye_python.LOCK.read_text().splitlines()) <= set(images.read_text().splitlines())


def test_get_python_takes_the_one_that_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = bare / "python3.9"
    stand_in.write_text("#!/bin/sh\necho 3.9\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("TOOLKIT_PYTHON39", str(stand_in))
    assert interpreters.ensure_python("3.9", Silent()) == stand_in


def test_get_python_says_what_to_do_when_this_is_no_debian(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bare))
    with pytest.raises(MachineError) as caught:
        interpreters.ensure_python("3.9", Silent())
    (problem,) = caught.value.problems
    assert problem.what.endswith("cannot be unpacked here: apt-get and dpkg-deb not found: this is not Debian")
    assert "TOOLKIT_PYTHON39" in problem.remedy
    assert "toolkit build legacy" in problem.remedy


@pytest.mark.legacy
def test_get_python_gives_apts_words_when_the_archive_cannot(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBIAN_MIRROR", f"file://{bare}/nothing")
    with pytest.raises(MachineError, match=r"reading the archive's lists: .*nothing"):
        interpreters.ensure_python("3.9", Silent())
    assert not list((bare / "cache/edge-vision-toolkit/bullseye").iterdir())


@pytest.mark.legacy
def test_get_python_makes_one_that_runs_both_eras_when_none(bare: Path) -> None:
    python = interpreters.ensure_python("3.9", Silent())
    assert python.is_relative_to(bare / "cache")
    made = python.stat()
    assert interpreters.ensure_python("3.9", Silent()).stat() == made
    home = Path.home()
    for name, version in (("2021", "2021.4.2"), ("2022", "2022.3.2")):
        worker = legacy_openvino.find_worker(compat.known().generations[name], Silent())
        assert worker.argv[0] == str(python)
        done = subprocess.run(
            [*worker.argv, "probe", "--root", home],
            env=dict(worker.environment),
            capture_output=True,
            check=True,
            text=True,
        )
        assert f'"openvino": "{version}-' in done.stdout
        assert '"python": "3.9.' in done.stdout


@pytest.mark.legacy
def test_bullseye_python_needs_no_root(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as cache:  # pytest's own folders are closed to others
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        if os.getuid() == 0:
            os.chown(cache, NOBODY, NOBODY)
        child = multiprocessing.get_context("fork").Process(target=_make_as_nobody)
        child.start()
        child.join()
        assert child.exitcode == 0
        (folder,) = Path(cache, "edge-vision-toolkit/bullseye").iterdir()
        assert folder.stat().st_uid != 0
        subprocess.run([folder / "bin/python3.9", "-c", "import ssl, ctypes, bz2, lzma"], check=True)


def _make_as_nobody() -> None:
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    bullseye_python.bullseye_python(Silent())
