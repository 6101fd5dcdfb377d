"""The confined worker: a fresh interpreter that confines itself, then calls functions by name until the channel closes.

It is started by its path; `python -I worker.py CHANNEL`, where CHANNEL is the number of an inherited socket.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import types
from dataclasses import asdict
from typing import Any


def main() -> None:
    """Read the policy, confine this process, report the layers, serve."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    (length,) = struct.unpack(">Q", channel.recv(8, socket.MSG_WAITALL))
    setup = json.loads(channel.recv(length, socket.MSG_WAITALL))
    sys.path[:] = setup["path"]
    from toolkit.system.sandbox import wire

    wire.send(channel, confine(setup))
    threading.Thread(target=_exit_with_parent, args=(channel,), daemon=True).start()
    while True:
        try:
            request = wire.receive(channel)
        except wire.WireError:
            return
        _serve(channel, request)


def confine(setup: dict[str, Any]) -> dict[str, Any]:
    """Apply every layer that the kernel allows; which of them hold."""
    from toolkit.system.sandbox import landlock, libc, namespaces, seccomp

    readable, writable = setup["readable"], setup["writable"]
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    private = bool(setup["root"]) and namespaces.enter(readable, writable, setup["root"])
    libc.drop_capabilities()
    layers = {"namespaces": private, "landlock": landlock.apply(readable, writable)}
    _limit_resources(setup)
    return layers | {"seccomp": seccomp.apply()}


def _limit_resources(setup: dict[str, Any]) -> None:
    limits = {
        resource.RLIMIT_AS: setup["memory_bytes"],
        resource.RLIMIT_FSIZE: setup["file_bytes"],
        resource.RLIMIT_CPU: setup["cpu_seconds"],
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        _soft, hard = resource.getrlimit(kind)
        lowest = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lowest, lowest))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is an OSError then


def _exit_with_parent(channel: socket.socket) -> None:
    """Stop at once when the toolkit is gone, whatever is being computed."""
    poll = select.poll()
    poll.register(channel, select.POLLRDHUP)
    poll.poll()
    os._exit(0)


def _serve(channel: socket.socket, request: dict[str, Any]) -> None:
    from toolkit.errors import ToolkitError
    from toolkit.system.sandbox import wire

    try:
        module, _, name = request["function"].partition(":")
        result = getattr(importlib.import_module(module), name)(**request["arguments"])
        if isinstance(result, types.GeneratorType):
            for item in result:
                wire.send(channel, {"item": item})
            result = None
        reply = {"result": result}
        wire.send(channel, reply)
    except ToolkitError as error:
        problems = [asdict(problem) for problem in error.problems]
        wire.send(channel, {"error": type(error).__name__, "problems": problems})
    except MemoryError:
        wire.send(channel, {"memory": True})
    except Exception as error:  # noqa: BLE001 - a parser may raise anything
        wire.send(channel, {"exception": type(error).__name__, "message": str(error)[:2000]})


if __name__ == "__main__":
    main()
