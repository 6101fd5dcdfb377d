"""Partition tables of disk images (MBR and GPT), read and written without mounting anything."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from toolkit.errors import UsageError

SECTOR_BYTES = 512
FAT32, LINUX, GPT_PROTECTIVE = 0x0C, 0x83, 0xEE
FAT_TYPES = frozenset({0x01, 0x04, 0x06, 0x0B, FAT32, 0x0E})
MAX_GPT_ENTRIES, MAX_GPT_ENTRY_BYTES = 1024, 4096
# Offsets of the filesystem's name and of the volume label in a boot sector: of FAT32, and of FAT12 and FAT16.
_FAT_FIELDS = ((82, 71), (54, 43))


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; offset and size in bytes."""

    number: int
    offset: int
    size: int


def write_mbr(*partitions: tuple[int, int, int]) -> bytes:
    """Return a master boot record with type, offset and size in bytes of each partition."""
    no_chs = b"\xfe\xff\xff"
    entries = b"".join(
        struct.pack("<B3sB3sII", 0, no_chs, kind, no_chs, offset // SECTOR_BYTES, size // SECTOR_BYTES)
        for kind, offset, size in partitions
    )
    return bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa"


def find_boot_partition(image: Path) -> Partition:
    """Return the FAT partition labeled "bootfs", otherwise the first FAT partition.

    Raises:
        UsageError: the image has no partition table, or no FAT partition.
    """
    with image.open("rb") as stream:
        labels = {part: label for part in _fat_candidates(stream, image) if (label := _fat_label(stream, part))}
    if not labels:
        raise UsageError("the image has no FAT partition", where=str(image), remedy="use an image of Raspberry Pi OS")
    return next((part for part, label in labels.items() if label == "bootfs"), next(iter(labels)))


def _fat_candidates(stream: BinaryIO, image: Path) -> list[Partition]:
    head = stream.read(2 * SECTOR_BYTES)
    if len(head) < 2 * SECTOR_BYTES or head[510:512] != b"\x55\xaa":
        raise UsageError(
            "the file has no partition table", where=str(image), remedy="use a disk image (.img or .img.xz)"
        )
    rows = [struct.unpack_from("<B3xB3xII", head, 446 + 16 * number) for number in range(4)]
    if any(kind == GPT_PROTECTIVE for _, kind, _, _ in rows):
        return list(_read_gpt(stream, head[SECTOR_BYTES:], image))
    return [
        Partition(number, first * SECTOR_BYTES, count * SECTOR_BYTES)
        for number, (_, kind, first, count) in enumerate(rows, 1)
        if kind in FAT_TYPES
    ]


def _read_gpt(stream: BinaryIO, header: bytes, image: Path) -> Iterator[Partition]:
    size, checksum = struct.unpack_from("<II", header, 12)
    table, count, entry_bytes = struct.unpack_from("<QII", header, 72)
    sound = header[:8] == b"EFI PART" and 92 <= size <= SECTOR_BYTES
    sound = sound and zlib.crc32(header[:16] + bytes(4) + header[20:size]) == checksum
    sound = sound and count <= MAX_GPT_ENTRIES and 56 <= entry_bytes <= MAX_GPT_ENTRY_BYTES
    if not sound:
        raise UsageError("the partition table (GPT) is damaged", where=str(image), remedy="download the image again")
    stream.seek(table * SECTOR_BYTES)
    entries = stream.read(count * entry_bytes)
    for number in range(len(entries) // entry_bytes):
        kind, first, last = struct.unpack_from("<16s16xQQ", entries, number * entry_bytes)
        if any(kind):
            yield Partition(number + 1, first * SECTOR_BYTES, (last - first + 1) * SECTOR_BYTES)


def _fat_label(stream: BinaryIO, partition: Partition) -> str | None:
    """The label of a FAT filesystem in lower case, None if the partition holds another filesystem."""
    stream.seek(partition.offset)
    sector = stream.read(SECTOR_BYTES)
    for name, label in _FAT_FIELDS:
        if sector[name : name + 3] == b"FAT":
            return sector[label : label + 11].decode("ascii", "replace").strip().lower() or "unnamed"
    return None
