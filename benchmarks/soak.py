"""The live app for a long while: frames, clients, reloads; memory has to stay flat.

`just soak` for an hour, which docs/reliability.md then tells of; `just soak --seconds 60` in CI. The app is a process as systemd runs
it, on a test pattern at 25 frames a second. All the while one client watches the stream, one asks the API, and every minute, or five
times in a shorter run, ROOT/current is made to lead to the other of two releases.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from device import prepared
from load import GROWTH_BYTES, ProcessSamples
from scores import machine

REPOSITORY = Path(__file__).parents[1]
RELIABILITY = REPOSITORY / "docs" / "reliability.md"
BEGIN, END = "<!-- begin soak -->", "<!-- end soak -->"
FPS, SAMPLE_S, RELOAD_S = 25, 1.0, 60.0


@dataclass
class Soak(ProcessSamples):
    """The samples and counts of one run."""

    seconds: float = 0
    predictions: int = 0
    stream_bytes: int = 0
    reloads: int = 0
    captures: int = 0
    totals: dict[str, object] = field(default_factory=dict)
    code: int = -1

    def problems(self) -> list[str]:
        """What went wrong."""
        answered, failed = (self.totals["frames"][name] for name in ("answered", "failed"))  # type: ignore[index]
        result = {
            f"it ended with {self.code}": self.code != 0,
            f"memory grew by {self.growth_bytes() / 1e6:.1f} MB": self.growth_bytes() > GROWTH_BYTES,
            f"threads grew from {min(self.threads)} to {self.threads[-1]}": self.threads[-1]
            > max(self.threads[:10]) + 8,
            f"open files grew from {min(self.files)} to {self.files[-1]}": self.files[-1] > max(self.files[:10]) + 8,
            f"{failed} queries failed": bool(failed),
            "no frame was answered": answered <= self.predictions,
            "nothing was predicted": not self.predictions,
            "no image was captured": not self.captures,
            "nothing was streamed": not self.stream_bytes,
        }
        return [problem for problem, there in result.items() if there]


def make_root(folder: Path) -> Path:
    """A device's ROOT with two releases of one bundle."""
    for name in ("a" * 64, "b" * 64):
        shutil.copytree(prepared(), folder / "releases" / name, ignore=shutil.ignore_patterns("images", "*.lock"))
    (folder / "current").symlink_to("releases/" + "a" * 64)
    (folder / "settings.json").write_text(json.dumps({"capture": {"reserve_mib": 0}, "drift": {"reference_hours": 0}}))
    return folder


def watch(port: int, soak: Soak, stopping: threading.Event) -> None:
    """The stream, begun anew now and then as people do."""
    while not stopping.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/stream")
            answer = connection.getresponse()
            for _ in range(200):
                soak.stream_bytes += len(answer.read(16_384))
                if stopping.is_set():
                    break
        connection.close()


def ask(port: int, image: bytes, soak: Soak, stopping: threading.Event) -> None:
    """Two predictions a second."""
    while not stopping.wait(0.5):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/v1/predict", image, {"Content-Type": "image/png"})
            soak.predictions += connection.getresponse().status == 200
        connection.close()


def reload(root: Path, soak: Soak) -> None:
    """Let ROOT/current lead to the other release, by one rename as a deployment does."""
    other = "ab"[(soak.reloads + 1) % 2] * 64
    (root / "new").symlink_to("releases/" + other)
    (root / "new").rename(root / "current")
    soak.reloads += 1


def run(root: Path, seconds: float) -> Soak:
    """The whole run."""
    soak, stopping = Soak(seconds=seconds), threading.Event()
    argv = [sys.executable, "-m", "toolkit.device", "serve", str(root / "current"), "--port", "0", "--fps", str(FPS)]
    argv += ["--capture", str(root / "settings.json")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as app:
        assert app.stdout is not None
        port = json.loads(app.stdout.readline())["port"]
        image = next((prepared() / "images").glob("*.png")).read_bytes()
        clients = [
            threading.Thread(target=watch, args=(port, soak, stopping)),
            threading.Thread(target=ask, args=(port, image, soak, stopping)),
        ]
        for client in clients:
            client.start()
        begin, pause_s = time.monotonic(), min(RELOAD_S, seconds / 6)
        while (passed := time.monotonic() - begin) < seconds and app.poll() is None:
            soak.take(app.pid)
            if passed > pause_s * (soak.reloads + 1):
                reload(root, soak)
            time.sleep(SAMPLE_S)
        stopping.set()
        for client in clients:
            client.join()
        app.send_signal(signal.SIGTERM)
        soak.totals = json.loads(app.stdout.read().splitlines()[-1])
    soak.code = app.returncode
    soak.captures = len([*root.glob("captures/*/*.json")])
    return soak


def section(soak: Soak) -> str:
    """For docs/reliability.md."""
    frames = soak.totals["frames"]
    assert isinstance(frames, dict)
    rows = {
        "length": f"{soak.seconds / 60:.0f} minutes",
        "frames captured, answered": f"{frames['captured']:,}, {frames['answered'] - soak.predictions:,}",
        "images answered by the API": f"{soak.predictions:,}",
        "streamed": f"{soak.stream_bytes / 1e6:,.0f} MB",
        "images captured to be labeled": f"{soak.captures}",
        "changes of the release": f"{soak.reloads}",
        "memory, median of the quarters": ", ".join(f"{soak.quarter(number) / 1e6:.1f}" for number in range(1, 5))
        + " MB",
        "threads, least and most": f"{min(soak.threads)}, {max(soak.threads)}",
        "open files, least and most": f"{min(soak.files)}, {max(soak.files)}",
        "exit code at SIGTERM": str(soak.code),
        "what went wrong": "; ".join(soak.problems()) or "nothing",
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    argv = (
        "The live app, run by `just soak` with a client on its stream, one on its API, "
        "captures and drift detection, and a new release every minute."
    )
    return (
        f"{BEGIN}\n## Soak\n\n{argv}\n\n| | |\n|---|---|\n{table}\n{datetime.now(UTC):%Y-%m-%d}, {machine()}.\n{END}\n"
    )


def keep(text: str) -> None:
    """Replace the page's section, or add it at the end."""
    page = RELIABILITY.read_text(encoding="utf-8")
    before, marker, rest = page.partition(BEGIN)
    after = rest.partition(END + "\n")[2] if marker else ""
    RELIABILITY.write_text(f"{before.rstrip(chr(10))}\n\n{text}{after}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, keep what was long enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--keep", action="store_true", help="write docs/reliability.md; done anyway from an hour on")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = run(make_root(Path(folder)), options.seconds)
    text = section(soak)
    print(text)
    if options.keep or options.seconds >= 3600:
        keep(text)
    return int(bool(soak.problems()))


if __name__ == "__main__":
    sys.exit(main())
