"""The system calls of the sandbox that Python has no function for."""

from __future__ import annotations

import ctypes
import os
import platform

_LIBC = ctypes.CDLL(None, use_errno=True)
_AARCH64 = platform.machine() == "aarch64"
_PIVOT_ROOT, _CAPSET = (41, 91) if _AARCH64 else (155, 126)

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38


def prctl(option: int, value: int, pointer: ctypes.c_void_p | None = None) -> None:
    """Set an attribute of this process: the system call prctl."""
    _check(_LIBC.prctl(option, ctypes.c_ulong(value), pointer, 0, 0))


def unshare(flags: int) -> None:
    """Enter new namespaces: the system call unshare."""
    _check(_LIBC.unshare(flags))


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """Mount a file system or change a mount: the system call mount."""
    encoded = (source.encode(), target.encode(), kind.encode() if kind else None)
    _check(_LIBC.mount(*encoded, ctypes.c_ulong(flags), options.encode() or None))


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root, with the old one at `old` below it: the system call pivot_root."""
    _check(_LIBC.syscall(_PIVOT_ROOT, new.encode(), old.encode()))


def detach(target: str) -> None:
    """Unmount `target`, also while it is in use."""
    _check(_LIBC.umount2(target.encode(), 2))


def drop_capabilities() -> None:
    """Give up every capability of this process, also those that a user namespace gave."""
    for capability in range(64):
        _LIBC.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _check(_LIBC.syscall(_CAPSET, header, (ctypes.c_uint32 * 6)()))


def landlock_abi() -> int:
    """The kernel's version of Landlock; 0 without it."""
    return max(0, int(_LIBC.syscall(444, None, ctypes.c_size_t(0), 1)))


def landlock_create_ruleset(attributes: bytes) -> int:
    """A file descriptor of a new ruleset."""
    return _check(_LIBC.syscall(444, attributes, ctypes.c_size_t(len(attributes)), 0))


def landlock_add_path(ruleset: int, rule: bytes) -> None:
    """Allow what a packed landlock_path_beneath_attr names."""
    _check(_LIBC.syscall(445, ruleset, 1, rule, 0))


def landlock_restrict_self(ruleset: int) -> None:
    """Enforce a ruleset on this thread and its children."""
    _check(_LIBC.syscall(446, ruleset, 0))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
