from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import rootfs

import toolkit

IMAGES = Path(toolkit.__file__).parents[1] / "images"
RECIPE = rootfs.Recipe("bookworm", "arm64", 1000, ("libc6",), ("dpkg",), ("usr/share/man/*", "dev/*"))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("lib/ld.so", "usr/lib/ld.so"),
        ("bin/sh", "usr/bin/sh"),
        ("usr/bin/env", "usr/bin/env"),
        ("library/x", "library/x"),
    ],
)
def test_merged_puts_the_old_folders_into_usr(name: str, place: str) -> None:
    assert rootfs.merged(name) == place


@pytest.mark.parametrize(
    ("name", "included"),
    [
        ("usr/share/doc/libc6/copyright", True),
        ("usr/share/doc/libc6/changelog.Debian.gz", False),
        ("usr/share/man/man1/ls.1.gz", False),
        ("usr/lib/libc.so.6", True),
    ],
)
def test_wanted_keeps_licenses_and_programs(name: str, included: bool) -> None:
    assert rootfs.is_included(RECIPE, name) is included


def unpacked(path: Path, times: int) -> Path:
    with tarfile.open(path, "w") as archive:
        for name in ("./lib/libc.so.6", "./usr/bin/dpkg", "./usr/share/man/man1/x", "./usr/share/doc/libc6/copyright"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = 3, 999 + times
            archive.addfile(member, io.BytesIO(b"abc"))
    return path


def test_write_root_does_not_depend_on_the_time(tmp_path: Path) -> None:
    packages = [
        rootfs.Package("libc6", "2.36", "0" * 64, "Package: libc6\n", frozenset({"lib/libc.so.6"})),
        rootfs.Package("dpkg", "1.21", "0" * 64, "Package: dpkg\n", frozenset({"usr/bin/dpkg"})),
    ]
    made = []
    for times in (1, 5000):
        rootfs.write_root(RECIPE, unpacked(tmp_path / "unpacked.tar", times), packages, tmp_path / "made.tar")
        made.append((tmp_path / "made.tar").read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / "made.tar") as archive:
        names = set(archive.getnames())
        assert archive.getmember("lib").linkname == "usr/lib"
    assert {"usr/lib/libc.so.6", "usr/share/doc/libc6/copyright", "var/lib/dpkg/status.d/libc6", "etc/passwd"} <= names
    assert not {"usr/bin/dpkg", "usr/share/man/man1/x", "var/lib/dpkg/status.d/dpkg"} & names


@pytest.mark.parametrize(
    ("suite", "variable", "options"),
    [
        ("trixie", "DEBIAN_MIRROR", ""),
        ("trixie", "DEBIAN_SNAPSHOT", "[check-valid-until=no] "),
        ("bullseye", "DEBIAN_MIRROR", "[check-valid-until=no] "),
    ],
)
def test_apt_source_accepts_expired_releases_of_snapshots_only(suite: str, variable: str, options: str) -> None:
    address = "http://mirror.invalid/debian"
    command, environment = [IMAGES / "apt-source.sh", suite], os.environ | {variable: address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"deb {options}{address} {suite} main\n"


def test_engine_check_says_what_to_install_when_nothing_is_there(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "id", "grep", "uname", "cat"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}" if Path(f"/usr/bin/{tool}").exists() else f"/bin/{tool}")
    done = subprocess.run(
        ["/bin/bash", IMAGES / "engine.sh", "check"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "no docker command" in done.stderr
    assert "no mmdebstrap" in done.stderr
    assert "images/engine.sh install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("messages", "cause", "remedy"),
    [
        (
            (
                "Err:1 http://mirror trixie InRelease\nE: Failed to fetch http://mirror/InRelease  Could not connect to mirror:80\n"
                "E: apt-get update failed\nI: main() received signal PIPE: waiting for setup...\nE: mmdebstrap failed to run"
            ),
            "E: Failed to fetch http://mirror/InRelease  Could not connect to mirror:80",
            "DEBIAN_MIRROR",
        ),
        (
            "W: GPG error\nE: Write error - write (28: No space left on device)\nE: mmdebstrap failed to run",
            "E: Write error - write (28: No space left on device)",
            "XDG_CACHE_HOME",
        ),
        (
            "tar: ./netbase.deb: Cannot write: No space left on device\nI: removing tempdir\nE: mmdebstrap failed to run",
            "tar: ./netbase.deb: Cannot write: No space left on device",
            "TMPDIR",
        ),
    ],
)
def test_failed_build_shows_the_cause_and_what_to_do(
    messages: str,
    cause: str,
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = tmp_path / "mmdebstrap"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\ncat >&2 <<'E'\n{messages}\nE\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SystemExit) as ended:
        rootfs.build(RECIPE, tmp_path / "output")
    shown = capfd.readouterr().err.splitlines()
    assert ended.value.code == 4
    assert cause in shown
    assert remedy in shown[-1]
    assert "received signal" not in " ".join(shown)
