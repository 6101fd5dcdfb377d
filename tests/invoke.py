"""Run the `toolkit` command in the test's own process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from toolkit.cli.main import main


def run(*argv: object) -> int:
    """Return the exit code of a command."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in argv])
    return int(left.value.code or 0)


def imported_by(*argv: object) -> set[str]:
    """Return the names of the modules that a command imports in a process of its own; it must end with 0."""
    script = (
        "import sys\nfrom toolkit.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, *map(str, argv)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())
