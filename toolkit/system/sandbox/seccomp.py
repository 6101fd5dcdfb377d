"""A seccomp filter: no sockets, programs, processes, mounts, tracing, or signals to other processes.

The filter is a program in classic BPF over struct seccomp_data: number at 0, architecture at 4, arguments from 16 on.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

from toolkit.system.sandbox import libc

_ERRNO, _KILL_PROCESS, _ALLOW = 0x00050000, 0x80000000, 0x7FFF0000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD = 0x00010000

_COMMON = (
    *(424, 425, 426, 427),  # pidfd_send_signal, io_uring_*
    *(428, 429, 430, 431, 432, 433, 434, 438, 440, 442),  # open_tree … fspick, pidfd_open, pidfd_getfd, mount_setattr
    *(452, 463, 466),  # fchmodat2, setxattrat, removexattrat
)
_REFUSED = {
    "x86_64": (
        *(41, 42, 43, 49, 50, 288),  # socket, connect, accept, bind, listen, accept4
        *(57, 58, 59, 322),  # fork, vfork, execve, execveat
        *(62, 200, 129, 297),  # kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
        *(101, 310, 311, 312),  # ptrace, process_vm_readv, process_vm_writev, kcmp
        *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
        *(29, 30, 64, 68, 240),  # shmget, shmat, semget, msgget, mq_open
        *(248, 249, 250),  # add_key, request_key, keyctl
        *(298, 300, 321, 323),  # perf_event_open, fanotify_init, bpf, userfaultfd
        *(103, 126, 135, 163, 167, 168, 169, 179),  # syslog, capset, personality, acct, swap*, reboot, quotactl
        *(133, 259, 303, 304),  # mknod, mknodat, name_to_handle_at, open_by_handle_at
        *(159, 164, 170, 171, 227, 305),  # adjtimex, settimeofday, set*name, clock_settime, clock_adjtime
        *(175, 176, 246, 313, 320),  # *_module, kexec_*
        *(90, 91, 268, 92, 93, 94, 260),  # chmod and chown: Landlock does not cover them
        *(188, 189, 190, 197, 198, 199, 132, 235, 261, 280),  # extended attributes and times
        *_COMMON,
    ),
    "aarch64": (
        *(198, 200, 201, 202, 203, 242),  # socket, bind, listen, accept, connect, accept4
        *(221, 281),  # execve, execveat
        *(129, 130, 138, 240),  # kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
        *(117, 270, 271, 272),  # ptrace, process_vm_readv, process_vm_writev, kcmp
        *(39, 40, 41, 51, 97, 268),  # umount2, mount, pivot_root, chroot, unshare, setns
        *(180, 186, 190, 194, 196),  # mq_open, msgget, semget, shmget, shmat
        *(217, 218, 219),  # add_key, request_key, keyctl
        *(241, 262, 280, 282),  # perf_event_open, fanotify_init, bpf, userfaultfd
        *(60, 89, 91, 92, 116, 142, 224, 225),  # quotactl, acct, capset, personality, syslog, reboot, swap*
        *(33, 264, 265),  # mknodat, name_to_handle_at, open_by_handle_at
        *(112, 161, 162, 170, 171, 266),  # clock_settime, set*name, settimeofday, adjtimex, clock_adjtime
        *(104, 105, 106, 273, 294),  # kexec_*, *_module
        *(52, 53, 54, 55),  # chmod and chown: Landlock does not cover them
        *(5, 6, 7, 14, 15, 16, 88),  # extended attributes and times
        *_COMMON,
    ),
}
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE, _TGKILL, _PRLIMIT = {"x86_64": (56, 234, 302), "aarch64": (220, 131, 261)}, 1, 2
_CLONE3 = 435


def apply() -> bool:
    """Enforce it on this process and its threads; False on other processors and kernels without it."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    program = assemble(machine, os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    try:
        libc.prctl(libc.PR_SET_SECCOMP, 2, ctypes.cast(header, ctypes.c_void_p))
    except OSError:
        return False
    return True


def assemble(machine: str, process: int) -> bytes:
    """The filter: each refused call answers EPERM; clone3, whose flags lie in memory, ENOSYS, so that clone is tried."""
    clone, tgkill, prlimit = _CLONE[machine]
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        *([(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL_PROCESS)] if machine == "x86_64" else []),  # x32
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        *_unless(clone, (_ANY_BIT, 1, 0, _CLONE_THREAD)),  # threads only
        *_unless(tgkill, (_EQUAL, 1, 0, process)),  # such as abort() sends to itself
        *_unless(prlimit, (_EQUAL, 1, 0, 0)),
    ]
    for number in _REFUSED[machine]:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _unless(number: int, test: tuple[int, int, int, int]) -> Sequence[tuple[int, int, int, int]]:
    """Refuse a call unless its first argument passes the test."""
    return (
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        test,
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    )
