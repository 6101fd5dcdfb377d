from __future__ import annotations

import stat

from toolkit.virtual import cpio


def unpacked(content: bytes) -> dict[str, tuple[int, int, bytes]]:
    """Mode, owner and content by name, as the kernel's documentation of the form says (initramfs buffer format)."""
    entries, place = {}, 0
    while place < len(content):
        assert content[place : place + 6] == b"070701"
        fields = [int(content[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        name_end = place + 110 + fields[11]
        name = content[place + 110 : name_end - 1].decode()
        begin = name_end + -name_end % 4
        entries[name] = fields[1], fields[2], content[begin : begin + fields[6]]
        place = begin + fields[6] + -(begin + fields[6]) % 4
    assert entries.pop("TRAILER!!!") == (0, 0, b"")
    return entries


def test_archive_says_what_each_entry_is() -> None:
    entries = [
        cpio.folder("a"),
        cpio.file("a/b", "text", 0o600, 1000),
        cpio.link("a/c", "b"),
        cpio.file("odd", b"12345"),
    ]
    assert unpacked(cpio.archive(entries)) == {
        "a": (stat.S_IFDIR | 0o755, 0, b""),
        "a/b": (stat.S_IFREG | 0o600, 1000, b"text"),
        "a/c": (stat.S_IFLNK | 0o777, 0, b"b"),
        "odd": (stat.S_IFREG | 0o644, 0, b"12345"),
    }


def test_archive_is_padded_so_that_another_may_follow() -> None:
    assert len(cpio.archive([cpio.file("x", b"1")])) % 4 == 0
