"""Fuzz every parser of `targets`, guided by the lines that an input reaches: `just fuzz --seconds 300`.

Where atheris is installed, it does the work (`with_atheris`). Each target has a process of its own. An exception that is no refusal, an input that takes more than 10 seconds, and 2 GB of memory
are failures; their inputs are written to the folder given by --failures. Prints one line for each target, and the totals.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from . import with_atheris
from .targets import TARGETS, Target

HANG_S = 10
MAX_BYTES = 2 << 30
MAX_INPUT = 1 << 16
TOOLKIT = str(Path(__file__).parents[2] / "toolkit")
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


class HangError(Exception):
    """A parser took too long."""


class Coverage:
    """The lines of the toolkit that ran; says whether the last input reached new ones."""

    def __init__(self) -> None:
        self.lines: set[tuple[CodeType, int]] = set()

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        del argument
        if not frame.f_code.co_filename.startswith(TOOLKIT):
            return None
        if event == "line":
            self.lines.add((frame.f_code, frame.f_lineno))
        return self.trace


def mutate(content: bytes, corpus: list[bytes], draw: random.Random) -> bytes:
    """Return a changed input: bytes set, flipped, cut, doubled or inserted, or two inputs joined."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        kind, at = draw.randrange(6), draw.randrange(len(data) + 1)
        if kind == 0 and data:
            data[at % len(data)] = draw.choice(INTERESTING)
        elif kind == 1 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif kind == 2:
            del data[at : at + draw.randrange(1, 9)]
        elif kind == 3:
            data[at:at] = data[at : at + draw.randrange(1, 33)]
        elif kind == 4:
            data[at:at] = draw.randbytes(draw.randrange(1, 9))
        else:
            data[at:] = draw.choice(corpus)[at:]
    return bytes(data[:MAX_INPUT])


def fuzz(target: Target, seconds: float, seed: int) -> dict[str, Any]:
    """Run one target for some seconds; return how much ran and what failed."""
    draw, coverage, corpus = random.Random(seed), Coverage(), list(target.seeds())
    failures: dict[str, bytes] = {}
    end, count = time.monotonic() + seconds, 0
    signal.signal(signal.SIGALRM, _hang)
    while time.monotonic() < end or count < len(corpus):
        content = corpus[count] if count < len(corpus) else mutate(draw.choice(corpus), corpus, draw)
        before, count = len(coverage.lines), count + 1
        failure = run(target, content, coverage)
        if failure:
            failures.setdefault(failure, content)
        if len(coverage.lines) > before:
            corpus.append(content)
    return {"inputs": count, "lines": len(coverage.lines), "corpus": len(corpus), "failures": failures}


def run(target: Target, content: bytes, coverage: Coverage) -> str:
    """Return why an input is a failure; empty if it is none."""
    signal.alarm(HANG_S)
    sys.settrace(coverage.trace)
    try:
        target.run(content)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
    finally:
        sys.settrace(None)
        signal.alarm(0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{memory >> 20} MiB of memory" if memory > MAX_BYTES else ""


def _hang(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise HangError


def _child(name: str, seconds: float, seed: int, answers: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print a line for each damaged image
    answers.send(fuzz(TARGETS[name], seconds, seed))


def in_process(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """Fuzz one target in a process of its own; one that dies is a failure."""
    near, far = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=_child, args=(name, seconds, seed, far))
    process.start()
    far.close()
    try:
        return dict(near.recv())
    except EOFError:
        process.join()
        return {"inputs": 0, "lines": 0, "corpus": 0, "failures": {f"the process ended with {process.exitcode}": b""}}
    finally:
        process.join()


def main() -> int:
    """Fuzz all targets, or those that are named; exit code 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=Path, default=Path("workspace/fuzz"), metavar="DIR")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(TARGETS)}")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    engine = with_atheris.run if importlib.util.find_spec("atheris") else in_process
    totals = {"inputs": 0, "failures": 0}
    for name in names:
        result = engine(name, options.seconds / len(names), options.seed)
        failures = result.pop("failures")
        totals = {"inputs": totals["inputs"] + result["inputs"], "failures": totals["failures"] + len(failures)}
        print(json.dumps({"target": name, **result, "failures": sorted(failures)}), flush=True)
        for content in failures.values():
            options.failures.mkdir(parents=True, exist_ok=True)
            file = options.failures / f"{name.replace(' ', '-')}-{hashlib.sha256(content).hexdigest()[:12]}"
            file.write_bytes(content)
    print(json.dumps(totals))
    return int(totals["failures"] > 0)


if __name__ == "__main__":
    sys.exit(main())
