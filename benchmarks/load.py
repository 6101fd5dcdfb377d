"""The live app under 500 clients of 50 addresses, some of them hostile: `just bench load`, `--seconds 10 --clients 200`.

Addresses are 127.0.0.2 and up. One client in ten never reads: it subscribes to the stream, or asks on and on. Two in ten stay silent,
one in ten sends a body a few bytes at a time. The others read the state, the stream and events. On each address one more of them is
well-behaved: it asks for the state twice a second and for a prediction now and then, and has to be answered each time. A client whose
connection is closed comes again. The app is a process as systemd runs it, on a test pattern at 25 frames a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
FPS, SAMPLE_S = 25, 0.5
ADDRESSES = 50
GROWTH_BYTES = 24_000_000
"""Allowed growth of the median from the second quarter of a run to the last: allocators settle late, leaks continue."""
WAIT_S = 15.0
"""A well-behaved client that waits longer was not served."""
EACH_S, PREDICT_EVERY = 0.5, 20


@dataclass
class ProcessSamples:
    """The samples of one process, in order."""

    memory_bytes: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def take(self, pid: int) -> None:
        """Add one sample."""
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.memory_bytes.append(int(values["VmRSS"].split()[0]) * 1024)
        self.threads.append(int(values["Threads"]))
        self.files.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))

    def quarter(self, number: int) -> float:
        """Return the median memory of one quarter of the run, counted from 1, in bytes."""
        count = max(1, len(self.memory_bytes) // 4)
        return statistics.median(self.memory_bytes[(number - 1) * count : number * count] or self.memory_bytes[-1:])

    def growth_bytes(self) -> float:
        """Return the growth of the median from the second quarter to the last."""
        return self.quarter(4) - self.quarter(2)


@dataclass
class Load(ProcessSamples):
    """One run: the counts of requests by client kind and outcome, and samples of the app's memory and files."""

    addresses: int = 0
    socket_bytes: list[int] = field(default_factory=list)
    served: Counter[str] = field(default_factory=Counter)
    """Answers with 200 to the well-behaved client of each address."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why a well-behaved client was not served."""
    waits_s: list[float] = field(default_factory=list)
    clients: Counter[str] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)
    predictions: int = 0
    code: int = -1
    log: str = ""

    def problems(self) -> list[str]:
        """Return what went wrong, one sentence each."""
        failures = {
            f"{self.addresses - len(self.served)} addresses were never served": len(self.served) < self.addresses,
            f"well-behaved clients were refused: {dict(self.refused)}": bool(self.refused),
            "no prediction was answered": not self.predictions,
            f"memory grew by {self.growth_bytes() / 1e6:.1f} MB": self.growth_bytes() > GROWTH_BYTES,
            f"the app ended with {self.code}": self.code != 0,
            f"the app logged an error: {self.log}": "error" in self.log.lower(),
        }
        return [problem for problem, there in failures.items() if there]


@dataclass(frozen=True)
class Target:
    """Where the app listens, from which address a client connects, and an image for predictions."""

    port: int
    address: str
    image: bytes

    async def connect(self, *, buffer_bytes: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection; `buffer_bytes`: a small receive buffer, for a client that reads nothing."""
        connection = socket.socket()
        if buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        connection.setblocking(False)
        connection.bind((self.address, 0))
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        return await asyncio.open_connection(sock=connection)


def request(path: str, method: str = "GET", body_bytes: int | None = None, kind: str = "image/png") -> bytes:
    """Return the head of a request."""
    length = "" if body_bytes is None else f"Content-Type: {kind}\r\nContent-Length: {body_bytes}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n".encode()


async def read_answer(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end; return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    return int(head.split(b" ")[1])


async def behave(target: Target, load: Load) -> None:
    """Ask on one connection until canceled, and count what is not answered with 200."""
    reader, writer = await target.connect()
    try:
        for number in range(sys.maxsize):
            await asyncio.sleep(EACH_S)
            predicts = number % PREDICT_EVERY == hash(target.address) % PREDICT_EVERY
            begin = time.monotonic()
            if predicts:
                writer.write(request("/v1/predict", "POST", len(target.image)) + target.image)
            else:
                writer.write(request("/v1/state"))
            status = await asyncio.wait_for(read_answer(reader), WAIT_S)
            load.waits_s.append(time.monotonic() - begin)
            if status == 200:
                load.served[target.address] += 1
                load.predictions += predicts
            elif status != 429 or not predicts:  # predictions have a limit for all addresses together
                load.refused[f"status {status}"] += 1
    except (OSError, EOFError, TimeoutError) as error:
        load.refused[type(error).__name__] += 1
        raise
    finally:
        writer.close()


async def read_nothing(target: Target, load: Load) -> None:
    """Subscribe to the stream, or ask on and on; never read."""
    reader, writer = await target.connect(buffer_bytes=4096)
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001 - that it reads nothing is the point
    asks_on = load.connections["never reads"] % 2
    try:
        writer.write(request("/openapi.json" if asks_on else "/stream"))
        while not writer.is_closing():
            await asyncio.sleep(0.05 if asks_on else 1)
            if asks_on:
                writer.write(request("/openapi.json") * 4)
                await writer.drain()
            elif writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO) != 1:
                return  # closed by the app
    finally:
        writer.transport.abort()


async def stay_silent(target: Target, _: Load) -> None:
    """Connect, and send nothing."""
    reader, writer = await target.connect()
    try:
        await reader.read(1)
    finally:
        writer.close()


async def drip(target: Target, _: Load) -> None:
    """Send a body by a few bytes a second."""
    reader, writer = await target.connect()
    try:
        writer.write(request("/v1/predict", "POST", 1_000_000))
        ended = asyncio.ensure_future(reader.read(1))
        while not ended.done():
            writer.write(b"\x89PNG")
            await asyncio.wait({ended}, timeout=1)
    finally:
        writer.close()


async def poll(target: Target, _: Load) -> None:
    """Read the state every second."""
    reader, writer = await target.connect()
    try:
        while True:
            writer.write(request("/v1/state"))
            await read_answer(reader)
            await asyncio.sleep(1)
    finally:
        writer.close()


def watch(path: str) -> Callable[[Target, Load], Awaitable[None]]:
    """Return a client that reads a stream."""

    async def client(target: Target, _: Load) -> None:
        reader, writer = await target.connect()
        try:
            writer.write(request(path))
            while await reader.read(65_536):
                pass
        finally:
            writer.close()

    return client


CLIENTS = {
    "never reads": read_nothing,
    "silent": stay_silent,
    "silent too": stay_silent,
    "drips": drip,
    "stream": watch("/stream"),
    "events": watch("/v1/events"),
    "polls": poll,
    "polls too": poll,
    "polls as well": poll,
}
"""Each of these is one client in ten; the tenth is well-behaved and counted."""


async def again_and_again(
    name: str, client: Callable[[Target, Load], Awaitable[None]], target: Target, load: Load
) -> None:
    """Run a client; when its connection ends, it comes again after a second."""
    load.clients[name] += 1
    while True:
        load.connections[name] += 1
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            await client(target, load)
        await asyncio.sleep(1)


async def attack(port: int, pid: int, image: bytes, clients: int, seconds: float, load: Load) -> None:
    """Run all clients for a while, and watch the app's memory."""
    tasks = []
    for number in range(clients // 10):
        target = Target(port, f"127.0.0.{2 + number % load.addresses}", image)
        for name, client in {"well-behaved": behave, **CLIENTS}.items():
            tasks.append(asyncio.ensure_future(again_and_again(name, client, target, load)))
    for _ in range(round(seconds / SAMPLE_S)):
        sample(pid, load)
        await asyncio.sleep(SAMPLE_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def sample(pid: int, load: Load) -> None:
    """Sample the app, and the kernel's memory for all sockets of this machine."""
    load.take(pid)
    sockets = Path("/proc/net/sockstat").read_text(encoding="ascii").partition("TCP:")[2].splitlines()[0].split()
    load.socket_bytes.append(int(sockets[sockets.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE"))


def run(release: Path, image: bytes, clients: int, seconds: float) -> Load:
    """Start the app on a release, attack it, end it."""
    load = Load(addresses=min(ADDRESSES, clients // 10))
    argv = [sys.executable, "-m", "toolkit.device", "serve", str(release), "--port", "0", "--fps", str(FPS)]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True, cwd=REPOSITORY) as app,
    ):
        assert app.stdout is not None
        port = json.loads(app.stdout.readline())["port"]
        asyncio.run(attack(port, app.pid, image, clients, seconds, load))
        app.send_signal(signal.SIGTERM)
        app.communicate(timeout=60)
        log.seek(0)
        load.log = log.read()
    load.code = app.returncode
    return load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print a table."""
    from device import prepared

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=500)
    options = parser.parse_args(arguments)
    image = next((prepared() / "images").glob("*.png")).read_bytes()
    load = run(prepared(), image, options.clients, options.seconds)
    waits = sorted(load.waits_s)
    rows = {
        "clients, addresses": f"{sum(load.clients.values())}, {load.addresses}",
        "requests of the well-behaved, served": f"{len(waits):,}, {sum(load.served.values()):,}",
        "fewest served of one address": f"{min(load.served.values(), default=0)}",
        "predictions": f"{load.predictions}",
        "wait, median and longest": f"{statistics.median(waits):.3f}, {waits[-1]:.3f} s",
        "memory: begin, median of the last quarter, most": f"{load.memory_bytes[0] / 1e6:.0f}, "
        f"{load.quarter(4) / 1e6:.0f}, {max(load.memory_bytes) / 1e6:.0f} MB",
        "growth from the second quarter to the last": f"{load.growth_bytes() / 1e6:.1f} MB",
        "open files, most": f"{max(load.files)}",
        "memory of all sockets, most": f"{max(load.socket_bytes) / 1e6:.0f} MB",
        "connections": ", ".join(f"{name} {count}" for name, count in sorted(load.connections.items())),
        "problems": "; ".join(load.problems()) or "none",
    }
    print("".join(f"| {name} | {value} |\n" for name, value in rows.items()))
    return int(bool(load.problems()))


if __name__ == "__main__":
    sys.exit(main())
