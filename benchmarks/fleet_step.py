"""One deployment, in a process of its own; `fleet.py` runs it and takes its time. Prints what went over the wire, as JSON."""

from __future__ import annotations

import json
import resource
import sys
import threading
from pathlib import Path
from typing import Any

from paramiko.packet import Packetizer

from toolkit.deploy import Strategy, deploy
from toolkit.deploy.gates.gate import IntegrityGate
from toolkit.deploy.strategy import parse_sizes
from toolkit.fleet import load_inventory


class Meter:
    """Counts what all connections send and receive, the handshakes too."""

    def __init__(self) -> None:
        self.sent = self.received = 0
        self._lock = threading.Lock()
        way: Any = Packetizer
        write, read = way.write_all, way.read_all

        def write_all(packetizer: object, content: bytes) -> None:
            with self._lock:
                self.sent += len(content)
            write(packetizer, content)

        def read_all(packetizer: object, *arguments: Any, **named: Any) -> Any:
            content = read(packetizer, *arguments, **named)
            with self._lock:
                self.received += len(content)
            return content

        way.write_all, way.read_all = write_all, read_all


def main(bundle: str, inventory: str, forks: str) -> int:
    """Deploy to all devices at once; no golden images, which would be answered on this machine's processor."""
    meter = Meter()
    result = deploy(
        Path(bundle),
        load_inventory(Path(inventory)),
        strategy=Strategy(batches=parse_sizes("100%")),
        gates=(IntegrityGate(),),
        forks=int(forks),
    )
    actual = {
        "outcomes": sorted({each.outcome for each in result.ok.values()}),
        "failed": [str(problem) for problem in result.failed.values()],
        "sent": meter.sent,
        "received": meter.received,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(actual))
    return int(bool(result.failed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
