"""Building with buildx: what a failure of the engine, not of the build, leads to."""

from __future__ import annotations

from pathlib import Path

import build
import pytest

LOST = f"ERROR: failed to prepare extraction snapshot: parent snapshot sha256:{'d9' * 32} does not exist: not found"


def fake_docker(folder: Path, message: str, failures: int) -> Path:
    """Put a `docker` into `folder` that fails with `message` on its first runs; return the file that has a line per run."""
    runs = folder / "runs"
    program = folder / "docker"
    program.write_text(
        f'#!/bin/sh\necho run >>"{runs}"\n[ "$(wc -l <"{runs}")" -gt {failures} ] || {{ echo "{message}" >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    return runs


@pytest.mark.parametrize(
    ("message", "failures", "code", "runs"),
    [(LOST, 1, 0, 2), (LOST, 9, 1, build.EXPORTS), ("ERROR: process did not complete: exit code: 1", 1, 1, 1)],
    ids=["layer-lost-once", "layer-always-lost", "other-error"],
)
def test_buildx_runs_again_only_when_the_engine_lost_a_layer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], message: str, failures: int, code: int, runs: int
) -> None:
    record = fake_docker(tmp_path, message, failures)
    assert build._buildx(["runner"], {"PATH": f"{tmp_path}:/usr/bin:/bin"}) == code
    assert len(record.read_text().splitlines()) == runs
    assert capfd.readouterr().err.count(message) == min(failures, runs)
