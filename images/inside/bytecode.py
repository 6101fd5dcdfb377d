"""Compile all Python files of a folder into __pycache__ folders of another, reproducibly.

    bytecode.py SOURCE OUTPUT

All files in OUTPUT get the time SOURCE_DATE_EPOCH, so that a layer copied from it is the same in each build.

The bytecode is marked as unchecked: an image is read-only, and copying changes file times.
Runs on Python 3.9 and later, inside an image being built.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
from pathlib import Path


def compile_tree(source: Path, output: Path) -> int:
    """Compile the tree at `source` and return the number of files. Invalid Python (a template) is skipped."""
    count = 0
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(name for name in names if name.endswith(".py")):
            count += _compile(Path(folder) / name, source, output)
    return count


def _compile(file: Path, source: Path, output: Path) -> bool:
    cached = Path(importlib.util.cache_from_source(str(file)))
    place = output / cached.relative_to(source)
    place.parent.mkdir(parents=True, exist_ok=True)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    try:
        py_compile.compile(str(file), cfile=str(place), dfile=str(file), doraise=True, invalidation_mode=mode)
    except py_compile.PyCompileError:
        return False
    return True


def settle_times(folder: Path) -> None:
    """Set the times of `folder` and of everything in it to SOURCE_DATE_EPOCH."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in [*folder.rglob("*"), folder, *folder.parents]:
        if path != Path("/"):
            os.utime(path, (epoch, epoch), follow_symlinks=False)


if __name__ == "__main__":
    source, output = Path(sys.argv[1]), Path(sys.argv[2])
    print(f"compiled {compile_tree(source, output)} files", file=sys.stderr)
    settle_times(output)
