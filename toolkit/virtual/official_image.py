"""Preset an official Raspberry Pi OS image (Debian 13 and later) with name, user, keys and network. No root, no mounts.

The image is unpacked beside its target, its SHA-256 compared, and cloud-init's files are written into the boot partition by
mtools. At the first boot the device takes its settings from there.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from toolkit.errors import UsageError
from toolkit.progress import Progress
from toolkit.virtual import cloud_init
from toolkit.virtual.cloud_init import CardNetwork, Login
from toolkit.virtual.partitions import find_boot_partition
from toolkit.virtual.tools import Tools, get_tools

BLOCK_BYTES = 1 << 20
HOLE_BYTES = 1 << 16
PACKAGES = ("mtools",)


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 of the file as downloaded, and of the unpacked image."""

    file: str
    image: str


def preset_image(
    source: Path, target: Path, name: str, login: Login, network: CardNetwork, progress: Progress, *, sha256: str = ""
) -> None:
    """Write a preset copy of an official image to `target`.

    `sha256` may be the sum of the file or of the unpacked image. Without it, the sum in SOURCE.sha256 counts.

    Raises:
        UsageError: the file is no image that cloud-init presets, or has another SHA-256.
        MachineError: mtools cannot be downloaded.
    """
    network.check()
    expected = sha256 or _published_sum(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".image-", dir=target.parent) as folder:
        part = Path(folder) / "image"
        progress.log(f"unpacking {source}")
        digests = unpack(source, part)
        if expected and expected.lower() not in (digests.file, digests.image):
            raise UsageError(
                f"the SHA-256 is {digests.file}, expected {expected}",
                where=str(source),
                remedy="download the image again",
            )
        if not expected:
            progress.log(f"SHA-256 not checked: give --sha256, or put {source.name}.sha256 beside the image")
        _preset(part, name, login, network, get_tools(progress, PACKAGES))
        part.replace(target)


def _published_sum(source: Path) -> str:
    """The sum in the file that Raspberry Pi publishes beside each image, "" without such a file."""
    try:
        return source.with_name(f"{source.name}.sha256").read_text(encoding="ascii").split()[0]
    except (OSError, ValueError, IndexError):
        return ""


def unpack(source: Path, target: Path) -> Digests:
    """Write the image sparsely, decompressing .xz; return both sums.

    Raises:
        UsageError: the file cannot be read, or ends early.
    """
    file, image = hashlib.sha256(), hashlib.sha256()
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            for block in _blocks(reader, file.update, compressed=source.suffix == ".xz"):
                image.update(block)
                write_sparsely(writer, block)
            writer.truncate(writer.tell())
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UsageError(f"the image cannot be read: {error}", where=str(source), remedy="download it again") from None
    return Digests(file.hexdigest(), image.hexdigest())


def _blocks(reader: BinaryIO, on_read: Callable[[bytes], None], *, compressed: bool) -> Iterator[bytes]:
    """Yield decompressed blocks of bounded size. An .xz file may hold several streams, with padding between them."""
    decompressor = lzma.LZMADecompressor()
    while block := reader.read(BLOCK_BYTES):
        on_read(block)
        if not compressed:
            yield block
            continue
        while True:
            if decompressor.eof:
                block = block.lstrip(b"\0")
                if not block:
                    break
                decompressor = lzma.LZMADecompressor()
            yield decompressor.decompress(block, BLOCK_BYTES)
            block = decompressor.unused_data
            if not decompressor.eof and decompressor.needs_input:
                break
    if compressed and not decompressor.eof:
        raise EOFError("the file ends early")


def write_sparsely(writer: BinaryIO, block: bytes) -> None:
    """Write a block, leaving holes where it holds only zeros."""
    for offset in range(0, len(block), HOLE_BYTES):
        chunk = block[offset : offset + HOLE_BYTES]
        if chunk.count(0) == len(chunk):
            writer.seek(len(chunk), os.SEEK_CUR)
        else:
            writer.write(chunk)


def _preset(image: Path, name: str, login: Login, network: CardNetwork, tools: Tools) -> None:
    boot = f"{image}@@{find_boot_partition(image).offset}"
    files = tools.run("mdir", "-b", "-i", boot, "::").split()
    if not any(file.lower().endswith("/meta-data") for file in files):
        raise UsageError(
            "the image has no cloud-init (no meta-data in its boot partition)",
            remedy="use Raspberry Pi OS based on Debian 13 (trixie) or later",
        )
    instance = f"toolkit-{uuid.uuid4().hex[:12]}"
    contents = {
        "user-data": cloud_init.user_data(name, login),
        "network-config": cloud_init.network_config(network),
        "meta-data": cloud_init.meta_data(instance),
        "cmdline.txt": cloud_init.kernel_command_line(tools.run("mtype", "-i", boot, "::cmdline.txt"), instance),
        "ssh": "",
    }
    with tempfile.TemporaryDirectory(prefix=".preset-", dir=image.parent) as folder:
        for file, content in contents.items():
            (Path(folder) / file).write_text(content, encoding="utf-8", newline="\n")
        tools.run("mcopy", "-o", "-i", boot, *sorted(Path(folder).iterdir()), "::")
