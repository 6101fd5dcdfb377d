"""Run the `toolkit` command in the test's own process."""

from __future__ import annotations

import pytest

from toolkit.cli.main import main


def run(*argv: object) -> int:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in argv])
    return int(left.value.code or 0)
