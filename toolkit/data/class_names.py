"""Class names for numbered classes: a text file with one class and its name per line.

n01440764 tench, Tinca tinca          separated by a space or a tab; of several names, the first one is used
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import DataError, Problem


def read_class_names(path: Path | None, classes: Sequence[str]) -> dict[str, str]:
    """Each class's name; its own where `path` is None. Two classes of one name keep their own beside it.

    Raises:
        DataError: no such file, or with every class that it does not name.
    """
    if path is None:
        return {label: label for label in classes}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read: {error}"
        raise DataError(
            what, where=str(path), remedy="name each class on a line, or leave data.class_names out"
        ) from None
    split = (line.split(maxsplit=1) for line in lines)
    names = {fields[0]: fields[1].split(",")[0].strip() for fields in split if len(fields) == 2}
    lacking = [label for label in classes if not names.get(label)]
    if lacking:
        problems = [Problem(f"does not name {label}", str(path), "add a line for it") for label in lacking]
        raise DataError.from_problems(problems)
    times = Counter(names[label] for label in classes)
    return {label: names[label] if times[names[label]] == 1 else f"{names[label]} ({label})" for label in classes}
