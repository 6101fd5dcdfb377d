"""Lay out the toolkit's source as its wheel would install it, with bytecode and its command.

    package.py SOURCE=PLACE… OUTPUT

Each folder SOURCE goes to OUTPUT/opt/toolkit/site/PLACE without caches, the command to OUTPUT/usr/local/bin/toolkit. A .pth
file adds the site folder to the interpreter's path; PYTHONPATH would not do, because devices of the local fleet start it with
a device's environment. Runs inside an image being built.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bytecode

SITE = "opt/toolkit/site"
PATH_FILE = "usr/lib/python3/dist-packages/toolkit.pth"
"""Debian's Python reads additional package folders from here."""
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
    """Copy the tree at `source` without caches, with the same modes everywhere."""
    shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"), dirs_exist_ok=True)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def main() -> None:
    """Copy, compile, write the command."""
    *sources, output = sys.argv[1:]
    site, path_file = Path(output, SITE), Path(output, PATH_FILE)
    for argument in sources:
        source, place = argument.split("=", 1)
        copy(Path(source), site / place)
    bytecode.compile_tree(site, site)
    path_file.parent.mkdir(parents=True)
    path_file.write_text(f"/{SITE}\n")
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
