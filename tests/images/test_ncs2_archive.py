"""The image for a stick on arm64, from a stand-in for Intel's archive: its real layout, with nothing of Intel's in it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import archive
import pytest

from ..ncs2_archive import CONTAINER_IMAGE, CONTENT, TOP, build, packed, sha256


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("archive") / f"{TOP}.tgz", CONTENT)


def test_unpack_keeps_what_a_device_needs(stand_in: Path, tmp_path: Path) -> None:
    archive.unpack(stand_in, tmp_path)
    unpacked = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if not path.is_dir()}
    assert unpacked == {
        "licensing/license.txt",
        "python/python3.9/openvino/__init__.py",
        "runtime/lib/aarch64/libopenvino.so",
        "runtime/lib/aarch64/libopenvino.so.2022.3.2",
        "runtime/lib/aarch64/libopenvino_intel_myriad_plugin.so",
        "runtime/lib/aarch64/libopenvino_ir_frontend.so",
        "runtime/lib/aarch64/usb-ma2x8x.mvcmd",
        "runtime/3rdparty/tbb/lib/libtbb.so.12",
    }


def test_unpack_says_what_is_missing_when_it_is_another_archive(tmp_path: Path) -> None:
    other = packed(tmp_path / "other.tgz", {"python/python3.9/openvino/__init__.py": b""})
    with tarfile.open(other, "w:gz") as stream:
        stream.addfile(tarfile.TarInfo(f"{TOP}/python/python3.9/openvino/__init__.py"), io.BytesIO(b""))
    with pytest.raises(SystemExit, match=r"has no runtime/lib/aarch64/"):
        archive.unpack(other, tmp_path / "out")


def test_unpack_refuses_a_link_out_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "evil.tgz"
    with tarfile.open(path, "w:gz") as stream:
        link = tarfile.TarInfo(f"{TOP}/runtime/lib/aarch64/passwd")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../etc/passwd"
        stream.addfile(link)
    with pytest.raises(SystemExit, match="points out of the archive"):
        archive.unpack(path, tmp_path / "out")


def test_check_refuses_another_file_than_the_one_that_was_meant(stand_in: Path) -> None:
    with pytest.raises(SystemExit, match=f"has the SHA-256 {sha256(stand_in)}"):
        archive.check(stand_in.parent, "0" * 64)


@pytest.mark.engine
def test_build_says_what_to_fetch_when_the_archive_is_not_given() -> None:
    done = build()
    assert done.returncode == 2
    assert "l_openvino_toolkit_debian9_2022.3.2.9279.e2c7e4d7b4d_arm64.tgz" in done.stderr
    assert "NCS2_ARCHIVE=FILE NCS2_ARCHIVE_SHA256=" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.engine
def test_build_refuses_a_damaged_archive(stand_in: Path) -> None:
    done = build(NCS2_ARCHIVE=str(stand_in), NCS2_ARCHIVE_SHA256="0" * 64)
    assert done.returncode != 0
    assert "the download is damaged, or it is another file" in done.stderr


@pytest.mark.engine
def test_image_finds_the_bindings_and_a_libusb_without_udev(stand_in: Path, docker_run: Callable[..., Any]) -> None:
    done = build(NCS2_ARCHIVE=str(stand_in), NCS2_ARCHIVE_SHA256=sha256(stand_in))
    assert done.returncode == 0, done.stderr[-3000:]
    program = (
        "import ctypes, platform, cv2, numpy, openvino; ctypes.CDLL('libusb-1.0.so.0'); "
        "assert 'udev' not in open('/proc/self/maps').read(); print(platform.machine(), openvino.STAND_IN)"
    )
    options = ("--entrypoint", "python3")
    done = docker_run(CONTAINER_IMAGE, "-c", program, platform="linux/arm64", options=options)
    assert done.stdout == "aarch64 True\n", done.stderr
