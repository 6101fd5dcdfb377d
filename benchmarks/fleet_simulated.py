"""A rollout to devices that are not there: a transport in memory, with latencies and faults, under the same code.

Each command is 20 to 60 ms away. Of twenty devices one cannot be reached, one is cut off in the transfer, and one refuses the
release. `fleet.py` runs it; prints the outcomes as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.deploy import Strategy, commands, deploy
from toolkit.deploy.session import PROTOCOL
from toolkit.deploy.strategy import parse_sizes
from toolkit.errors import FleetError
from toolkit.fleet import CommandResult
from toolkit.fleet.facts import PROBE_SCRIPT
from toolkit.fleet.ssh.shell import Ask, Command, Input, Stream
from toolkit.fleet.transfer.scripts import STATE

FORKS = 64
FACTS: dict[str, Any] = {
    "machine": "aarch64",
    "python": "3.11.2",
    "openvino": "2026.4.0",
    "numpy": "2.2.0",
    "opencv": "4.12.0",
}
FACTS |= {"accelerators": ["CPU"], "free_bytes": 1 << 34, "current": None, "previous": None, "releases": []}
GOLDEN = {"ok": True, "max_abs": 1e-6, "tolerance": 1e-3, "signature": {"checked": False}}
_DEPTH = 1 << 18
"""What is in flight when a connection is cut."""


class SimulatedShell:
    """One device's command line, answered from memory."""

    transport = "simulated"
    is_open = True

    def __init__(self, device: Device, files: dict[str, Any]) -> None:
        self.device, self._files = device, files
        self._draw = random.Random(device.name)
        self._fault = int(device.name.rpartition("-")[2]) % 20
        self._release, self._gates = "", list[str]()

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = None) -> CommandResult:
        """See Shell."""
        del stdin, timeout
        self._travel()
        arguments = [command] if isinstance(command, str) else list(command)
        return CommandResult(self._answer(arguments), "", 0)

    def put(self, content: bytes | Path, remote: str, *, timeout: float | None = None) -> None:
        """See Shell."""
        del content, remote, timeout
        self._travel()

    @contextmanager
    def background(self, command: Command, *, timeout: float | None = None) -> Iterator[str]:
        """See Shell."""
        del command, timeout
        self._travel()
        yield "held"

    def dial(self, port: int) -> Stream:
        """No port is forwarded."""
        raise FleetError(f"port {port} is not forwarded", where=self.device.name)

    def follow(self, command: Command, on_line: Callable[[str], None]) -> None:
        """See Shell."""

    @contextmanager
    def converse(self, command: Command) -> Iterator[Ask]:
        """See Shell."""
        del command
        yield self._reply

    def close(self) -> None:
        """See Shell."""

    def _travel(self) -> None:
        time.sleep(self._draw.uniform(0.02, 0.06))

    def _answer(self, arguments: list[str]) -> str:
        """By the script that is run, or by what the device code is asked."""
        current = f"releases/{self._files['current']}" if self._files.get("current") else ""
        if STATE in arguments:
            whole = "whole\n" if self._files.get("files") == arguments[-2] else ""
            return f"space {1 << 22} 4096 0 0\ncurrent {current}\nwritable\npython\n{whole}"
        if PROBE_SCRIPT in arguments:
            return json.dumps(FACTS)
        if commands.STATUS in arguments:
            return f"current:1 'current' -> '{current}'\n" if current else ""
        if "survey" in arguments:
            return json.dumps({"intact": [], "stored": [], "chunks": [], "damaged": []})
        return "none\n"

    def _reply(self, line: Input, timeout: float) -> str:
        """Answer one request of a session: every gate in turn, and then the switch."""
        del timeout
        self._travel()
        if not isinstance(line, bytes):
            return self._receive(line)
        request = json.loads(line[line.rindex(b'{"do"') :]) if b'{"do"' in line else json.loads(line)
        if request.get("do") == "activate":
            self._release, self._gates = request["release"], [gate["name"] for gate in request["gates"]]
        elif request.get("do") == "lock":
            return json.dumps({"ok": True, "protocol": PROTOCOL, "release": self._files.get("current")})
        elif "do" in request:
            return json.dumps({"ok": True})
        elif not request["ok"]:
            return json.dumps(request)
        if self._gates:
            result = GOLDEN if self._fault != 13 else GOLDEN | {"ok": False, "problems": ["simulated"]}
            return json.dumps({"step": self._gates.pop(0), "result": result})
        self._files["current"] = self._release
        return json.dumps({"ok": True})

    def _receive(self, archive: Iterable[bytes]) -> str:
        """Take everything in, or half of it."""
        taken = 0
        for piece in archive:
            taken += len(piece)
            if self._fault == 7 and taken > _DEPTH:
                raise FleetError("the connection was lost", where=self.device.name)
        return json.dumps({"ok": True, "lacking": [], "damaged": []})


def main(bundle: str, count: str) -> int:
    """Plan and run it; tell what became of how many."""
    files: dict[str, dict[str, Any]] = {}

    @contextmanager
    def connect(device: Device) -> Iterator[SimulatedShell]:
        shell = SimulatedShell(device, files.setdefault(device.name, {}))
        if int(device.name.rpartition("-")[2]) % 20 == 3:
            time.sleep(0.1)
            raise FleetError("does not answer", where=device.name)
        yield shell

    fleet.connect = connect
    devices = [Device(name=f"device-{number:04}", host="in memory") for number in range(int(count))]
    everybody = Strategy(batches=parse_sizes("1,25%,100%"), max_failures=parse_sizes("50%")[0])
    result = deploy(Path(bundle), devices, strategy=everybody, forks=FORKS)
    outcomes = Counter(each.outcome for each in result.ok.values()) + Counter(failed=len(result.failed))
    print(json.dumps({"outcomes": outcomes}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
