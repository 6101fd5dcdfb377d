"""Archives that the kernel unpacks into its first file system: cpio's "newc" form, by people's documentation of it.

Written here and not by the program, since anybody may then say whose a file is. The kernel takes several, one after another.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_END = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder, file or link; `mode` has its type's bits, too. A link's content is where it points."""

    name: str
    mode: int
    content: bytes = b""
    owner: int = 0


def folder(name: str, permissions: int = 0o755, owner: int = 0) -> Entry:
    """A folder."""
    return Entry(name, stat.S_IFDIR | permissions, owner=owner)


def file(name: str, content: bytes | str, permissions: int = 0o644, owner: int = 0) -> Entry:
    """A file."""
    return Entry(name, stat.S_IFREG | permissions, content.encode() if isinstance(content, str) else content, owner)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def archive(entries: Iterable[Entry]) -> bytes:
    """All of them, in their order: a folder has to come before what is in it."""
    numbered = enumerate([*entries, Entry(_END, 0)], 1)
    return b"".join(piece for number, entry in numbered for piece in _pieces(number, entry))


def _pieces(number: int, entry: Entry) -> Iterator[bytes]:
    name = entry.name.encode() + b"\0"
    links, time, device, checksum = 1, 0, 0, 0
    fields = [number, entry.mode, entry.owner, entry.owner, links, time, len(entry.content), *[device] * 4, len(name)]
    header = b"070701" + "".join(f"{value:08X}" for value in (*fields, checksum)).encode()
    yield _padded(header + name)
    yield _padded(entry.content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
