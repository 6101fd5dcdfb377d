"""Linux namespaces: no network, no other processes, and a file system of nothing but the listed paths.

A user namespace gives the right to do this without root, where neither a sysctl nor a container's profile forbids it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from toolkit.system.sandbox import libc

DEVICES = ("null", "zero", "full", "random", "urandom")
PROC_FILES = ("cpuinfo", "meminfo", "stat", "filesystems", "version")

_MOUNT, _UTS, _IPC, _USER, _PID, _NET = 0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_LOCKED = {  # a user namespace may not clear these flags of a mount
    os.ST_RDONLY: _RDONLY,
    os.ST_NOSUID: _NOSUID,
    os.ST_NODEV: _NODEV,
    os.ST_NOEXEC: _NOEXEC,
    os.ST_NOATIME: 1 << 10,
    os.ST_NODIRATIME: 1 << 11,
    os.ST_RELATIME: 1 << 21,
}


def enter(readable: Sequence[str], writable: Sequence[str], root: str) -> bool:
    """Go on in a child that sees only these paths; False, with nothing changed, where that is forbidden.

    Args:
        readable: Absolute paths to mount read-only.
        writable: Absolute paths to mount writable.
        root: An empty folder, the mount point of the new root.
    """
    child = os.fork()  # try it first: half of it cannot be undone
    if child == 0:
        code = 1
        with contextlib.suppress(OSError):
            _enter(readable, writable, root)
            code = 0
        os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        return False
    _enter(readable, writable, root)
    return True


def _enter(readable: Sequence[str], writable: Sequence[str], root: str) -> None:
    user, group = os.geteuid(), os.getegid()
    libc.unshare(_MOUNT | _UTS | _IPC | _USER | _PID | _NET)
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(content, encoding="ascii")
    child = os.fork()
    if child:
        os.closerange(0, 1024)  # the parent waits for the child's end of the pipe alone
        _exit_like(os.waitpid(child, 0)[1])
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    _build_root(readable, writable, root)


def _exit_like(status: int) -> None:
    """End as a child ended, also if a signal ended it."""
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _build_root(readable: Sequence[str], writable: Sequence[str], root: str) -> None:
    libc.mount("none", "/", flags=_REC | _PRIVATE)
    libc.mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "size=16m,mode=755")
    for path in _outermost(readable):
        _bind(path, root, _RDONLY)
    for path in (*writable, *(f"/dev/{name}" for name in DEVICES)):
        _bind(path, root, 0)
    _mount_proc(root)
    os.mkdir(f"{root}/.old")  # noqa: PTH102 - no Path normalizes what the kernel is told
    libc.pivot_root(root, f"{root}/.old")
    os.chdir("/")
    libc.detach("/.old")
    Path("/.old").rmdir()
    libc.mount("none", "/", flags=_REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def _mount_proc(root: str) -> None:
    place = Path(f"{root}/proc")
    place.mkdir()
    try:
        libc.mount("proc", str(place), "proc", _NOSUID | _NODEV)
    except OSError:  # inside a container whose /proc is masked
        for name in PROC_FILES:
            _bind(f"/proc/{name}", root, _RDONLY)


def _outermost(paths: Sequence[str]) -> list[str]:
    """The paths without those inside another of them."""
    outermost: list[str] = []
    for path in sorted(set(paths), key=lambda path: Path(path).parts):
        if not any(Path(path).is_relative_to(outer) for outer in outermost):
            outermost.append(path)
    return outermost


def _bind(path: str, root: str, flags: int) -> None:
    """Make `path` visible below `root`; a symbolic link, such as /lib, is copied as one."""
    source, place = Path(path), Path(f"{root}{path}")
    if not os.path.lexists(path):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        place.symlink_to(source.readlink())
        return
    if source.is_dir():
        place.mkdir(exist_ok=True)
    elif not place.exists():
        place.touch()
    libc.mount(path, str(place), flags=_BIND | _REC)
    held = os.statvfs(place).f_flag
    locked = sum(flag for bit, flag in _LOCKED.items() if held & bit)
    libc.mount("none", str(place), flags=_REMOUNT | _BIND | _NOSUID | locked | flags)
