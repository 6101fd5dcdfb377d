"""cpio archives in the "newc" format, which the kernel unpacks into its initial RAM disk.

Written in Python rather than by the cpio program, which cannot set owners without root. The kernel accepts several
archives, one after another.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_END = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A folder, file or link; `mode` includes the type bits. The content of a link is its target."""

    name: str
    mode: int
    content: bytes = b""
    owner: int = 0


def folder(name: str, permissions: int = 0o755, owner: int = 0) -> ArchiveMember:
    """Return a folder."""
    return ArchiveMember(name, stat.S_IFDIR | permissions, owner=owner)


def file(name: str, content: bytes | str, permissions: int = 0o644, owner: int = 0) -> ArchiveMember:
    """Return a file."""
    return ArchiveMember(
        name, stat.S_IFREG | permissions, content.encode() if isinstance(content, str) else content, owner
    )


def link(name: str, target: str) -> ArchiveMember:
    """Return a symbolic link."""
    return ArchiveMember(name, stat.S_IFLNK | 0o777, target.encode())


def archive(entries: Iterable[ArchiveMember]) -> bytes:
    """Return an archive of the entries, in their order: a folder must come before its content."""
    numbered = enumerate([*entries, ArchiveMember(_END, 0)], 1)
    return b"".join(block for number, entry in numbered for block in _blocks(number, entry))


def _blocks(number: int, entry: ArchiveMember) -> Iterator[bytes]:
    name = entry.name.encode() + b"\0"
    links, time, device, checksum = 1, 0, 0, 0
    fields = [number, entry.mode, entry.owner, entry.owner, links, time, len(entry.content), *[device] * 4, len(name)]
    header = b"070701" + "".join(f"{value:08X}" for value in (*fields, checksum)).encode()
    yield _padded(header + name)
    yield _padded(entry.content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
