"""Read and validate every image once: its digest and size, or why it cannot be used.

An index in the workspace caches the results by path, size and modification time, so that later runs are fast.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from toolkit import files, hashing
from toolkit.data.decoding import DecodingError, inspect_image
from toolkit.data.formats.scan import ImageFile
from toolkit.data.parallel import parallel_map
from toolkit.data.split_manifest import SUBSETS
from toolkit.errors import Problem
from toolkit.progress import Progress
from toolkit.workspace import Workspace

_FILE_MAX_BYTES = 1 << 30
_OR_DROP = ', or set leaks = "drop" in the experiment\'s [data]'


@dataclass(frozen=True, slots=True)
class ValidatedImage:
    """An image that can be read: the digest of its bytes, height and width in pixels when upright, perceptual hash."""

    file: ImageFile
    sha256: str
    height: int
    width: int
    hash: int | None = None


def validate_images(
    files: Sequence[ImageFile], root: Path, workspace: Workspace, progress: Progress, max_bytes: int | None = None
) -> tuple[tuple[ValidatedImage, ...], tuple[Problem, ...]]:
    """The images that can be read, and one problem for each that cannot.

    `max_bytes` limits the memory of a decoded image.
    """
    index = workspace.folder("cache", "checked") / f"{hashing.sha256_json(str(root.resolve()))[:16]}.json"
    known, marks = _load_index(index), {file.path: _mark(file.path, max_bytes) for file in files}
    results = {file.path: _recall(file, known.get(str(file.path)), marks[file.path]) for file in files}
    fresh = [file for file in files if results[file.path] is None]
    validate = partial(_validate, max_bytes=max_bytes)
    outcomes = parallel_map(validate, fresh, "checking images", progress) if fresh else []
    problems = tuple(outcome for outcome in outcomes if isinstance(outcome, Problem))
    results |= {outcome.file.path: outcome for outcome in outcomes if isinstance(outcome, ValidatedImage)}
    checked = tuple(result for result in results.values() if result)
    _save_index(index, checked, marks)
    return checked, problems


def duplicates(checked: Sequence[ValidatedImage]) -> tuple[Problem, ...]:
    """Images with the same bytes in two subsets (a leak: the test would contain what was trained on) or in two classes."""
    same: dict[str, list[ImageFile]] = defaultdict(list)
    for image in checked:
        same[image.sha256].append(image.file)
    return tuple(problem for group in same.values() for problem in _duplicate_problems(group))


def drop_duplicates(checked: Sequence[ValidatedImage]) -> tuple[ValidatedImage, ...]:
    """Every image but those that `duplicates` would name.

    The later subset keeps its copies, so that a published test subset stays whole; where copies have two labels none is
    trained on.
    """
    same: dict[str, list[ValidatedImage]] = defaultdict(list)
    for image in checked:
        same[image.sha256].append(image)
    remaining = {one.file.path for group in same.values() for one in _remaining(group)}
    return tuple(image for image in checked if image.file.path in remaining)


def _remaining(group: Sequence[ValidatedImage]) -> Sequence[ValidatedImage]:
    subsets = [SUBSETS.index(one.file.subset) if one.file.subset else 0 for one in group]
    last = [one for one, subset in zip(group, subsets, strict=True) if subset == max(subsets)]
    torn = len({one.file.label for one in last}) > 1 and SUBSETS[max(subsets)] != "test"
    return [] if torn else last


def _duplicate_problems(group: Sequence[ImageFile]) -> list[Problem]:
    names = ", ".join(str(file.path) for file in group[1:])
    problems = []
    if len({file.subset for file in group}) > 1:
        subsets = " and ".join(sorted({str(file.subset) for file in group}))
        problems.append(
            Problem(f"the same image is in {subsets}, also as {names}", str(group[0].path), f"keep it in one{_OR_DROP}")
        )
    if len({file.label for file in group}) > 1:
        classes = " and ".join(sorted({file.label for file in group}))
        what = f"the same image is labeled {classes}, also as {names}"
        problems.append(Problem(what, str(group[0].path), f"keep it in the right class{_OR_DROP}"))
    return problems


def _validate(file: ImageFile, max_bytes: int | None) -> ValidatedImage | Problem:
    try:
        content = _read(file.path)
        height, width, image_hash = inspect_image(content, max_bytes)
    except OSError as error:
        return Problem(error.strerror or str(error), str(file.path), "make it readable, or remove it")
    except DecodingError as error:
        return Problem(str(error), str(file.path), _remedy(str(error)))
    return ValidatedImage(file, hashing.sha256_bytes(content), height, width, image_hash)


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _FILE_MAX_BYTES:
        raise DecodingError(f"a file of {size / 1e6:.0f} MB, more than the limit of {_FILE_MAX_BYTES / 1e6:.0f} MB")
    return path.read_bytes()


def _remedy(what: str) -> str:
    if "more than the limit" in what or "that can be decoded" in what:
        return "scale the image down, or raise data.max_image_mb (or TOOLKIT_MAX_IMAGE_MB)"
    damaged = "truncated" in what or "damaged" in what or "empty" in what
    return "replace it with a complete copy, or remove it" if damaged else "convert it to JPEG or PNG, or remove it"


def _mark(path: Path, max_bytes: int | None) -> list[int]:
    """What changes when a file or its verdict changes: size, time of change in ns, code, and the limit."""
    from toolkit.data import near_duplicates
    from toolkit.device import image_io

    status = path.stat()
    limit = image_io.MAX_BYTES if max_bytes is None else max_bytes
    return [status.st_size, status.st_mtime_ns, image_io.VERSION, near_duplicates.VERSION, limit]


def _recall(file: ImageFile, entry: Mapping[str, Any] | None, mark: list[int]) -> ValidatedImage | None:
    if entry is None or entry["mark"] != mark:
        return None
    return ValidatedImage(file, entry["sha256"], entry["height"], entry["width"], entry["hash"])


def _load_index(index: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        content = json.loads(index.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _save_index(index: Path, checked: Sequence[ValidatedImage], marks: Mapping[Path, list[int]]) -> None:
    entries = {
        str(image.file.path): {
            "mark": marks[image.file.path],
            "sha256": image.sha256,
            "height": image.height,
            "width": image.width,
            "hash": image.hash,
        }
        for image in checked
    }
    with files.atomic_write(index) as stream:
        stream.write(hashing.canonical_json(entries))
