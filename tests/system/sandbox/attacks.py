"""What hostile code in a confined worker would try; run there by the tests of the sandbox."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import DataError, Problem


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def write(path: str, size: int = 1) -> int:
    return Path(path).write_bytes(bytes(size))


def remove(path: str) -> None:
    Path(path).unlink()


def change_mode(path: str) -> None:
    Path(path).chmod(0o777)


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5)


def run_program() -> bytes:
    return subprocess.check_output(["/bin/true"])


def fork() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    return child


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def trace(process: int) -> None:
    ctypes.set_errno(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, process, None, None) < 0:  # PTRACE_ATTACH
        raise OSError(ctypes.get_errno(), "ptrace")


def remount(path: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", path.encode(), None, ctypes.c_ulong(32 | 4096), None) < 0:
        raise OSError(ctypes.get_errno(), "mount")


def environment() -> dict[str, str]:
    return dict(os.environ)


def allocate(size: int) -> int:
    return len(bytearray(size))


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def spin() -> None:
    while True:
        pass


def crash() -> None:
    ctypes.string_at(0)


def leave(code: int) -> None:
    os._exit(code)


def forge(content: bytes) -> None:
    """Send something else than a frame to the toolkit."""
    for number in range(3, 64):
        try:
            with socket.socket(fileno=os.dup(number)) as channel:
                channel.sendall(content)
        except OSError:
            continue


def number_of_threads() -> int:
    import threading

    done: list[int] = []
    threads = [threading.Thread(target=done.append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(done)


def echo(value: object) -> object:
    return value


def count(most: int) -> Iterator[int]:
    yield from range(most)


def refuse() -> None:
    raise DataError.from_problems([Problem("one", "a", "b"), Problem("two", "c", "d")])


def fail() -> None:
    raise KeyError("lost")
