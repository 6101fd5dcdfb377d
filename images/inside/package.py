"""Lay the toolkit's source out as its wheel would be installed, with bytecode and its command.

    package.py SOURCE=PLACE… OUTPUT

Each folder SOURCE goes to OUTPUT/opt/toolkit/site/PLACE, less what a machine made for itself; the command to
OUTPUT/usr/local/bin/toolkit. The interpreter is told of the site by a file of its own, not by PYTHONPATH: the embedded
fleet's devices start it with an environment that holds nothing of the toolkit's. Runs inside an image being built.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bytecode

SITE = "opt/toolkit/site"
TOLD = "usr/lib/python3/dist-packages/toolkit.pth"
"""Debian's Python looks here for folders to take packages from."""
COMMAND = """\
#!/usr/bin/python3
# `docker run IMAGE run …` and `docker run IMAGE toolkit run …` are the same.
import sys

from toolkit.cli.main import main

if sys.argv[1:2] == ["toolkit"]:
    del sys.argv[1]
main()
"""


def copy(source: Path, place: Path) -> None:
    """Copy the tree at `source` without caches, the same modes for all."""
    shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"), dirs_exist_ok=True)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def main() -> None:
    """Copy, compile, write the command."""
    *given, output = sys.argv[1:]
    site, told = Path(output, SITE), Path(output, TOLD)
    for word in given:
        source, place = word.split("=", 1)
        copy(Path(source), site / place)
    bytecode.compile_tree(site, site)
    told.parent.mkdir(parents=True)
    told.write_text(f"/{SITE}\n")
    command = Path(output, "usr/local/bin/toolkit")
    command.parent.mkdir(parents=True)
    command.write_text(COMMAND)
    command.chmod(0o755)
    for folder in ("cache", "work"):
        Path(output, folder).mkdir()
        Path(output, folder).chmod(0o1777)
    bytecode.settle_times(Path(output))


if __name__ == "__main__":
    main()
