"""A device's first pull over a slow way to the registry, against one blob of as many bytes over the same way.

`just bench pull [--round-trip-ms 50] [--repeat 5]`. The registry is Debian's docker-registry on loopback. The way is a relay
that holds back every byte, and the opening of every connection: this kernel has no netem.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fleet_ground
from scores import Score, conclude

from toolkit.deploy.registry.oci_registry import open_registry
from toolkit.deploy.registry.publish import publish

EXTRA_S = 2.0
BLOCK_BYTES = 1 << 16
IN_FLIGHT = 64
"""Blocks on the way at most, 4 MiB: what TCP's window holds on such a way."""
CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: '127.0.0.1:{port}'}}
"""
METHOD = (
    "`just bench pull`: a device without a release reads the channel's documents and fetches all chunks of a {size:.1f} MB "
    "release (MobileNet's shapes and the device code, {layers} blobs) from docker-registry, through a relay that makes a round trip take "
    "{round_trip:.0f} ms and the opening of a connection another one. Checking digests and writing are included, activating is not. The yardstick "
    "is one blob of as many bytes through the same relay, plus {extra:g} s. Medians of {repeat}, in turns; each fetch is a "
    "process of its own and its start is not counted. There is no netem in the kernel used, so TCP's slow start is not part of it."
)


class Relay:
    """A way to a server on which every byte takes `one_way_s`."""

    def __init__(self, port: int, one_way_s: float) -> None:
        self._target, self._one_way_s = port, one_way_s
        self.port = 0
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        started.wait()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self._one_way_s)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)

        async def arrive() -> None:
            while True:
                due, block = await on_the_way.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if not block:
                    sink.close()
                    return
                sink.write(block)
                await sink.drain()

        arriving = asyncio.create_task(arrive())
        with suppress(OSError):
            while block := await source.read(BLOCK_BYTES):
                await on_the_way.put((self._loop.time() + self._one_way_s, block))
        await on_the_way.put((self._loop.time() + self._one_way_s, b""))
        with suppress(OSError):
            await arriving


@contextmanager
def registry(folder: Path) -> Iterator[int]:
    """A registry for the length of a with-block; its port."""
    program = shutil.which("docker-registry")
    if program is None:
        sys.exit("docker-registry is not installed: apt-get install docker-registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    quiet = subprocess.DEVNULL  # it logs each blob that is not there yet
    with subprocess.Popen([program, "serve", folder / "config.yml"], stdout=quiet, stderr=quiet) as process:
        try:
            fleet_ground.wait_for("127.0.0.1", port)
            yield port
        finally:
            process.terminate()


def fetch(channel: str, folder: Path, digest: str = "") -> float:
    """Fetch in a process of its own; return its seconds."""
    place = Path(tempfile.mkdtemp(dir=folder))
    argv = [sys.executable, str(Path(__file__).with_name("pull_step.py")), channel, str(place), *filter(None, [digest])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    shutil.rmtree(place)
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout)


def main() -> int:
    """Measure in turns, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--round-trip-ms", type=float, default=50.0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--no-keep", action="store_true", help="print, and leave the docs alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-pull-") as name, registry(Path(name)) as port:
        folder = Path(name)
        bundle = fleet_ground.make_bundle(folder / "bundles", 1)
        near = f"127.0.0.1:{port}/bench/pull:stable"
        publish(bundle, near)
        with open_registry(near) as direct:
            layers = direct.manifest()["layers"]
            size_bytes = sum(layer["size"] for layer in layers)
            digest = direct.put_blob(os.urandom(size_bytes))["digest"]
        relay = Relay(port, options.round_trip_ms / 2000)
        far = f"127.0.0.1:{relay.port}/bench/pull:stable"
        pairs = [(fetch(far, folder), fetch(far, folder, digest)) for _ in range(options.repeat)]
    own, single = (statistics.median(times) for times in zip(*pairs, strict=True))
    extra = max(own - single, 1e-3)
    method = METHOD.format(
        size=size_bytes / 1e6,
        layers=len(layers),
        round_trip=options.round_trip_ms,
        extra=EXTRA_S,
        repeat=options.repeat,
    )
    score = Score("pull.first", EXTRA_S / extra, 1.0, f"{own:.2f} s", f"{single:.2f} s and {EXTRA_S:g} s more")
    return conclude("pull", "A first pull from a registry", method, [score], keep=not options.no_keep)


if __name__ == "__main__":
    sys.exit(main())
