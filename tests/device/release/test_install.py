"""Archives as a hostile USB drive may carry them: none is read into memory, none leads out of the release."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.device.activation.delivery import GateOptions, deliver
from toolkit.device.errors import DeviceError
from toolkit.device.release.descriptor import parse_descriptor
from toolkit.device.release.install import install
from toolkit.device.release.receiver import iter_chunks, iter_members


def archive(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["layout.json", "release.json.sig", "channel.json", "a" * 64])
def test_install_does_not_read_a_sparse_member_into_memory(tmp_path: Path, name: str) -> None:
    file = tmp_path / "bomb.tar"
    info = tarfile.TarInfo(name)
    info.size = 7 << 30
    file.write_bytes(info.tobuf(tarfile.USTAR_FORMAT))
    with file.open("r+b") as stream:
        stream.truncate(512 + (7 << 30))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DeviceError, match="describes no release"):
        install(file, tmp_path / "root", GateOptions())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_install_refuses_links_and_devices_in_the_archive(tmp_path: Path) -> None:
    file = tmp_path / "links.tar"
    with tarfile.open(file, "w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo("layout.json")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    with pytest.raises(DeviceError, match="describes no release"):
        install(file, tmp_path / "root", GateOptions())


def described(**changes: Any) -> dict[str, bytes]:
    entry = {"path": "model.bin", "sha256": "0" * 64, "size_bytes": 3, **changes}
    listed = {entry["path"]: {"sha256": entry["sha256"], "size_bytes": entry["size_bytes"]}}
    return {
        "layout.json": json.dumps({"place": "releases/x", "files": [entry]}).encode(),
        "release.json": json.dumps({"bundle": "b", "files": listed}).encode(),
    }


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"path": "../../etc/cron.d/x"}, "leads elsewhere"),
        ({"path": "/etc/passwd"}, "leads elsewhere"),
        ({"path": "device/a\0b"}, "leads elsewhere"),
        ({"path": "device/\ud800"}, "leads elsewhere"),
        ({"path": "a\x1b[2J"}, "leads elsewhere"),
        ({"sha256": "../../x"}, "is not a digest"),
        ({"size_bytes": -1}, "of a size that is not allowed"),
        ({"size_bytes": True}, "of a size that is not allowed"),
        ({"size_bytes": 1 << 60, "chunks": [["0" * 64, 1 << 60]]}, "of a size that is not allowed"),
        ({"chunks": [["0" * 64, 2]]}, "do not add up to it"),
    ],
)
def test_parse_descriptor_refuses(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeviceError, match=problem):
        parse_descriptor("test", described(**changes))


@given(st.dictionaries(st.sampled_from(["layout.json", "release.json"]), st.binary(max_size=300)))
def test_parse_descriptor_refuses_any_other_bytes(documents: dict[str, bytes]) -> None:
    with pytest.raises(DeviceError):
        parse_descriptor("test", documents)


@pytest.mark.parametrize("digits", [b"00000000009", b"8", b" 1 ", b"-1", b"0x1", b""])
def test_iter_members_ends_at_a_size_that_is_not_octal(digits: bytes) -> None:
    header = bytearray(tarfile.TarInfo("name").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = digits.ljust(12, b"\0")
    assert list(iter_members(io.BytesIO(bytes(header) + bytes(1024)))) == []


@settings(max_examples=200)
@given(st.binary(max_size=3000), st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=8))
def test_iter_members_ends_whatever_the_bytes(noise: bytes, flips: list[tuple[int, int]]) -> None:
    info = tarfile.TarInfo("name")
    info.size = 600
    content = bytearray(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024) + noise)
    for place, value in flips:
        content[place] = value
    assert all(member is None or len(member) <= 1 << 20 for _, member in iter_members(io.BytesIO(bytes(content))))
    assert len(list(iter_chunks(io.BytesIO(bytes(content))))) <= len(content) // 512


def test_deliver_fetches_before_it_takes_the_deploy_lock(tmp_path: Path) -> None:
    """A registry that drips keeps nobody else from deploying."""
    entry = {"sha256": "0" * 64, "size_bytes": 3}
    release = json.dumps({"bundle": "b", "files": {"model.bin": entry}}).encode()
    digest = hashlib.sha256(release).hexdigest()
    own = {"path": "release.json", "sha256": digest, "size_bytes": len(release)}
    layout = {"place": f"releases/{digest}", "files": [{"path": "model.bin", **entry}, own]}
    descriptor = parse_descriptor("x", {"layout.json": json.dumps(layout).encode(), "release.json": release})
    locked: list[bool] = []

    def fetch(missing: set[str]) -> Iterator[tuple[str, bytes]]:
        del missing
        locked.append((tmp_path / "deploy.lock").exists())
        raise DeviceError("the registry drips")

    with pytest.raises(DeviceError, match="the registry drips"):
        deliver(tmp_path, descriptor, fetch, GateOptions(), "pull", "stable")
    assert locked == [False]
