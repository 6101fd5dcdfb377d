"""Landlock: the kernel refuses every file outside the listed paths (Documentation/userspace-api/landlock.rst)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from toolkit.system.sandbox import libc
from toolkit.system.sandbox.namespaces import DEVICES, PROC_FILES

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_MAKE_SPECIAL = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12  # devices, sockets, FIFOs, symbolic links
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights on files, by the first ABI that has them."""


def apply(readable: Sequence[str], writable: Sequence[str]) -> int:
    """Enforce it on this process; the ABI version, 0 where the kernel has none.

    From ABI 4 on TCP is refused as well, from ABI 6 on abstract sockets and signals to outside.
    """
    abi = libc.landlock_abi()
    if not abi:
        return 0
    rights = _RIGHTS[max(known for known in _RIGHTS if known <= abi)]
    fields = [rights, *([0b11] if abi >= 4 else []), *([0b11] if abi >= 6 else [])]
    try:
        ruleset = libc.landlock_create_ruleset(struct.pack(f"<{len(fields)}Q", *fields))
        try:
            _allow_all(ruleset, _rules(readable, writable, rights))
            libc.landlock_restrict_self(ruleset)
        finally:
            os.close(ruleset)
    except OSError:
        return 0
    return abi


def _rules(readable: Sequence[str], writable: Sequence[str], rights: int) -> Iterator[tuple[str, int]]:
    yield from ((path, _READ) for path in readable)
    yield from ((path, rights & ~(_EXECUTE | _MAKE_SPECIAL)) for path in writable)
    yield from ((f"/dev/{name}", _READ_FILE | _WRITE_FILE) for name in DEVICES)
    yield from ((f"/proc/{name}", _READ_FILE | _READ_DIR) for name in (*PROC_FILES, str(os.getpid())))


def _allow_all(ruleset: int, rules: Iterable[tuple[str, int]]) -> None:
    for path, rights in rules:
        if not Path(path).exists():
            continue
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            allowed = rights if Path(path).is_dir() else rights & _ON_FILES
            libc.landlock_add_path(ruleset, struct.pack("<Qi", allowed, handle))
        finally:
            os.close(handle)
