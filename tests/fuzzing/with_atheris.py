"""Fuzz one target with atheris, which counts branches in instrumented byte code: several times as many inputs as `fuzz` alone.

`python -m tests.fuzzing.with_atheris TARGET SECONDS SEED FOLDER`: libFuzzer prints its statistics on stderr and writes a failing input to
FOLDER. `fuzz` runs it where atheris is installed: pip install atheris==3.0.0 (Python 3.11 to 3.13 on x86-64).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HANG_S, MEMORY_MB = 10, 2048


def run(name: str, seconds: float, seed: int) -> dict[str, Any]:
    """Fuzz a target in a process of its own; return the result as `fuzz.in_process` does."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "tests.fuzzing.with_atheris", name, str(seconds), str(seed), folder]
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
        inputs = re.findall(r"number_of_executed_units: (\d+)", done.stderr)
        covered = re.findall(r" cov: (\d+) .*corp: (\d+)/", done.stderr)
        failures = {}
        for file in Path(folder).glob("*-*"):  # crash-…, timeout-…, oom-…
            failures[f"{file.name.partition('-')[0]}: {_reason(done.stderr)}"] = file.read_bytes()
        if not inputs and not failures:
            failures[f"the process ended with {done.returncode}: {done.stderr[-300:]}"] = b""
    lines, corpus = covered[-1] if covered else (0, 0)
    return {
        "inputs": int(inputs[-1]) if inputs else 0,
        "lines": int(lines),
        "corpus": int(corpus),
        "failures": failures,
    }


def _reason(log: str) -> str:
    """Return the exception that ended the run, and where."""
    places = re.findall(r'File "[^"]*?([^/"]+)", line (\d+)', log)
    errors = re.findall(r"^(\w+(?:\.\w+)*(?:Error|Exception)\b[^\n]*)", log, re.MULTILINE)
    return f"{errors[-1] if errors else 'no exception'} in {':'.join(places[-1]) if places else '?'}"


def main(name: str, seconds: str, seed: str, folder: str) -> None:
    """Fuzz until the time is over or an input fails."""
    import atheris

    with atheris.instrument_imports(include=["toolkit"]):
        from .targets import TARGETS
    target, corpus = TARGETS[name], Path(folder, "corpus")
    corpus.mkdir()
    for number, content in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(content)
    limits = [f"-max_total_time={max(1, round(float(seconds)))}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}"]
    settings = [f"-seed={int(seed) + 1}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-max_len=65536"]
    atheris.Setup([sys.argv[0], *limits, *settings, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
