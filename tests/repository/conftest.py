"""The repository as its tests see it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tracked(repository: Path) -> tuple[Path, ...]:
    """Every file under version control, or about to be, as absolute paths."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = (repository / name for name in listing.split("\0") if name)
    return tuple(path for path in paths if path.is_file())
