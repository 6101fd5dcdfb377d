"""Partition tables of disk images."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.virtual.partitions import find_boot_partition, write_mbr

MIB = 1 << 20


def fat_sector(label: bytes) -> bytes:
    sector = bytearray(512)
    sector[71:82] = label.ljust(11)
    sector[82:87] = b"FAT32"
    return bytes(sector)


def gpt(*starts: int) -> bytes:
    entries = b"".join(struct.pack("<16s16sQQ", b"K" * 16, b"U" * 16, one // 512, one // 512 + 8) for one in starts)
    table = b"".join(entry.ljust(128, b"\0") for entry in (entries[i : i + 48] for i in range(0, len(entries), 48)))
    header = (
        b"EFI PART" + struct.pack("<IIII", 0x10000, 92, 0, 0) + bytes(48) + struct.pack("<QIII", 2, len(starts), 128, 0)
    )
    checked = header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:]
    return write_mbr((0xEE, 512, MIB)) + checked.ljust(512, b"\0") + table


def image(path: Path, table: bytes, labels: dict[int, bytes]) -> Path:
    with path.open("wb") as stream:
        stream.write(table)
        for offset, label in labels.items():
            stream.seek(offset)
            stream.write(fat_sector(label))
    return path


def test_mbr_holds_type_offset_and_size_of_each_partition() -> None:
    table = write_mbr((0x0C, 4 << 20, 256 << 20), (0x83, 260 << 20, 1 << 30))
    assert len(table) == 512
    assert table[510:] == b"\x55\xaa"
    kinds = [(table[place + 4], *struct.unpack("<II", table[place + 8 : place + 16])) for place in (446, 462, 478)]
    assert kinds == [(0x0C, 8192, 524288), (0x83, 532480, 2097152), (0, 0, 0)]


@pytest.mark.parametrize("labels", [{8 * MIB: b"BOOTFS"}, {4 * MIB: b"OTHER", 8 * MIB: b"bootfs"}])
@pytest.mark.parametrize("kind", ["mbr", "gpt"])
def test_boot_partition_is_the_one_labeled_bootfs(tmp_path: Path, kind: str, labels: dict[int, bytes]) -> None:
    table = gpt(*labels) if kind == "gpt" else write_mbr(*((0x0C, offset, MIB) for offset in labels))
    assert find_boot_partition(image(tmp_path / "i", table.ljust(1024, b"\0"), labels)).offset == 8 * MIB


def test_first_fat_counts_without_that_label(tmp_path: Path) -> None:
    table = write_mbr((0x83, 2 * MIB, MIB), (0x0C, 4 * MIB, MIB), (0x0C, 8 * MIB, MIB)).ljust(1024, b"\0")
    assert find_boot_partition(image(tmp_path / "i", table, {4 * MIB: b"", 8 * MIB: b"X"})).offset == 4 * MIB


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=1200), st.binary(max_size=700).map(lambda noise: gpt(MIB)[:600] + noise)))
def test_any_other_file_is_refused_in_one_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.img"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"no partition table|no FAT partition|damaged"):
        find_boot_partition(path)
