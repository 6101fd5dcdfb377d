"""Official images, on a stand-in with their layout: MBR, FAT32 `bootfs` with cloud-init's files."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.progress import Silent
from toolkit.virtual.cloud_init import CardNetwork
from toolkit.virtual.official_image import PACKAGES, unpack
from toolkit.virtual.partitions import write_mbr
from toolkit.virtual.sd_image import OfficialImage, write_sd_image
from toolkit.virtual.tools import Tools, get_tools

OFFSET, SIZE = 8 << 20, 64 << 20
KEY = "ssh-ed25519 AAAA anna@laptop"


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.sampled_from([b"\0" * 70_000, b"data" * 5_000, b"x"]), max_size=6), st.integers(1, 3))
def test_unpack_returns_every_byte_and_both_sums(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], streams: int
) -> None:
    folder, content = tmp_path_factory.getbasetemp(), b"".join(parts)
    source = folder / "source.img.xz"
    step = -(-len(content) // streams) or 1
    chunks = [content[i : i + step] for i in range(0, len(content), step)] or [b""]
    source.write_bytes(b"".join(lzma.compress(chunk) for chunk in chunks))
    digests = unpack(source, folder / "unpacked.img")
    assert (folder / "unpacked.img").read_bytes() == content
    assert digests.image == hashlib.sha256(content).hexdigest()
    assert digests.file == hashlib.sha256(source.read_bytes()).hexdigest()


def test_unpack_leaves_holes(tmp_path: Path) -> None:
    (tmp_path / "source.img").write_bytes(b"first" + bytes(5 << 20) + b"last")
    unpack(tmp_path / "source.img", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source.img").read_bytes()
    assert (tmp_path / "target").stat().st_blocks * 512 < 3 << 20


@pytest.mark.parametrize("content", [lzma.compress(b"data" * 1000)[:-20], b"not xz at all"])
def test_damaged_downloads_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "source.img.xz").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        unpack(tmp_path / "source.img.xz", tmp_path / "target")


pytestmark_engine = pytest.mark.engine  # needs Debian's mtools, which the tier of provisioning downloads


@pytest.fixture(scope="module")
def tools() -> Tools:
    return get_tools(Silent(), PACKAGES)


@pytest.fixture(scope="module")
def official(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, compressed."""
    folder = tmp_path_factory.mktemp("official")
    write_boot_partition(folder / "fat", tools, SIZE, "console=tty1 root=PARTUUID=1 rootwait\n")
    content = write_mbr((0x0C, OFFSET, SIZE)).ljust(OFFSET, b"\0") + (folder / "fat").read_bytes()
    path = folder / "raspios.img.xz"
    path.write_bytes(lzma.compress(content, preset=0))
    return path


def write_boot_partition(target: Path, tools: Tools, size_bytes: int, command_line: str) -> None:
    """Write a FAT32 `bootfs` with the files of cloud-init and the kernel's command line."""
    tools.run("mformat", "-C", "-F", "-v", "bootfs", "-T", str(size_bytes // 512), "-i", target, "::")
    # mformat writes the label of the root folder in capitals.
    target.write_bytes(target.read_bytes().replace(b"BOOTFS     ", b"bootfs     "))
    files = {"cmdline.txt": command_line, "meta-data": "instance-id: x\n", "user-data": "#cloud-config\n"}
    for name, content in files.items():
        file = target.with_name(name)
        file.write_text(content)
        tools.run("mcopy", "-i", target, file, "::")


@pytestmark_engine
def test_official_image_is_preset_by_cloud_init(tools: Tools, official: Path, tmp_path: Path) -> None:
    target = tmp_path / "kitchen.img"
    network = CardNetwork("home", "long enough", "PT")
    digest = hashlib.sha256(official.read_bytes()).hexdigest()
    preset = OfficialImage(official, digest, network)
    written = write_sd_image("kitchen", (KEY,), target, Silent(), user="anna", official=preset)
    boot = f"{target}@@{OFFSET}"
    user_data = yaml.safe_load(tools.run("mtype", "-i", boot, "::user-data"))
    assert user_data["users"][0]["ssh_authorized_keys"] == [KEY]
    assert user_data["ssh_keys"]["ed25519_public"] == written.host_key
    assert (
        "home"
        in json.loads(tools.run("mtype", "-i", boot, "::network-config"))["network"]["wifis"]["wlan0"]["access-points"]
    )
    instance = yaml.safe_load(tools.run("mtype", "-i", boot, "::meta-data"))["instance-id"]
    assert tools.run("mtype", "-i", boot, "::cmdline.txt").endswith(f" ds=nocloud;i={instance}\n")
    assert target.with_suffix(".known_hosts").read_text() == f"kitchen {written.host_key}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kitchen.img", "kitchen.known_hosts"]


@pytestmark_engine
def test_image_with_another_sum_is_refused(official: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the SHA-256 is"):
        write_sd_image("kitchen", (KEY,), tmp_path / "k.img", Silent(), official=OfficialImage(official, "0" * 64))
    assert list(tmp_path.iterdir()) == []
