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
