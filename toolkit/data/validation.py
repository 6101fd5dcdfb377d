"""Read every image once: what its bytes are, how large it is, or why it cannot be used.

An index under the workspace remembers what was read by path, size and time of change, so that a second look is quick.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import files, hashing
from toolkit.data.formats.folders import ImageFile
from toolkit.data.parallel import parallel_map
from toolkit.data.split_manifest import PARTS
from toolkit.errors import Problem
from toolkit.progress import Progress
from toolkit.workspace import Workspace

_OR_DROP = ', or set leaks = "drop" in the experiment\'s [data]'


@dataclass(frozen=True, slots=True)
class ValidatedImage:
    """An image that can be read: the digest of its bytes, height and width in pixels when upright, perceptual hash."""

    found: ImageFile
    sha256: str
    height: int
    width: int
    hash: int | None = None


def validate_images(
    found: Sequence[ImageFile], root: Path, workspace: Workspace, progress: Progress
) -> tuple[tuple[ValidatedImage, ...], tuple[Problem, ...]]:
    """The images that can be read, and one problem for each that cannot."""
    index = workspace.folder("cache", "checked") / f"{hashing.sha256_json(str(root.resolve()))[:16]}.json"
    known, marks = _remembered(index), {image.path: _mark(image.path) for image in found}
    read = {image.path: _recalled(image, known.get(str(image.path)), marks[image.path]) for image in found}
    fresh = [image for image in found if read[image.path] is None]
    seen = parallel_map(_look, fresh, "checking images", progress) if fresh else []
    problems = tuple(result for result in seen if isinstance(result, Problem))
    read |= {result.found.path: result for result in seen if isinstance(result, ValidatedImage)}
    checked = tuple(result for result in read.values() if result)
    _remember(index, checked, marks)
    return checked, problems


def duplicates(checked: Sequence[ValidatedImage]) -> tuple[Problem, ...]:
    """Images with the same bytes in two parts (a leak: the test would ask what training told) or in two classes."""
    same: dict[str, list[ImageFile]] = defaultdict(list)
    for image in checked:
        same[image.sha256].append(image.found)
    return tuple(problem for group in same.values() for problem in _repeat(group))


def drop_duplicates(checked: Sequence[ValidatedImage]) -> tuple[ValidatedImage, ...]:
    """Every image but those that `repeats` would name.

    The later part keeps its copies, so that a published test part stays whole; where copies have two labels none is
    trained on.
    """
    same: dict[str, list[ValidatedImage]] = defaultdict(list)
    for image in checked:
        same[image.sha256].append(image)
    kept = {one.found.path for group in same.values() for one in _kept(group)}
    return tuple(image for image in checked if image.found.path in kept)


def _kept(group: Sequence[ValidatedImage]) -> Sequence[ValidatedImage]:
    parts = [PARTS.index(one.found.part) if one.found.part else 0 for one in group]
    last = [one for one, part in zip(group, parts, strict=True) if part == max(parts)]
    torn = len({one.found.label for one in last}) > 1 and PARTS[max(parts)] != "test"
    return [] if torn else last


def _repeat(group: Sequence[ImageFile]) -> list[Problem]:
    names = ", ".join(str(found.path) for found in group[1:])
    problems = []
    if len({found.part for found in group}) > 1:
        parts = " and ".join(sorted({str(found.part) for found in group}))
        problems.append(
            Problem(f"the same image lies in {parts}, also as {names}", str(group[0].path), f"keep it in one{_OR_DROP}")
        )
    if len({found.label for found in group}) > 1:
        classes = " and ".join(sorted({found.label for found in group}))
        what = f"the same image is labeled {classes}, also as {names}"
        problems.append(Problem(what, str(group[0].path), f"keep it in the right class{_OR_DROP}"))
    return problems


def _look(found: ImageFile) -> ValidatedImage | Problem:
    from toolkit.data.near_duplicates import perceptual_hash
    from toolkit.device.image_io import ImageError, read_image

    try:
        content = found.path.read_bytes()
        image = read_image(content)
        height, width = image.shape[:2]
    except OSError as error:
        return Problem(error.strerror or str(error), str(found.path), "make it readable, or remove it")
    except ImageError as error:
        why = str(error).removeprefix("image: ")
        return Problem(why, str(found.path), "replace it by a whole copy, or remove it")
    return ValidatedImage(found, hashing.sha256_bytes(content), height, width, perceptual_hash(image))


def _mark(path: Path) -> list[int]:
    """What changes when a file changes: size in bytes, time of change in ns, and the code that judged it."""
    from toolkit.data import near_duplicates
    from toolkit.device import image_io

    status = path.stat()
    return [status.st_size, status.st_mtime_ns, image_io.VERSION, near_duplicates.VERSION]


def _recalled(found: ImageFile, entry: Mapping[str, Any] | None, mark: list[int]) -> ValidatedImage | None:
    if entry is None or entry["mark"] != mark:
        return None
    return ValidatedImage(found, entry["sha256"], entry["height"], entry["width"], entry["hash"])


def _remembered(index: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        content = json.loads(index.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(index: Path, checked: Sequence[ValidatedImage], marks: Mapping[Path, list[int]]) -> None:
    entries = {
        str(image.found.path): {
            "mark": marks[image.found.path],
            "sha256": image.sha256,
            "height": image.height,
            "width": image.width,
            "hash": image.hash,
        }
        for image in checked
    }
    with files.atomic_write(index) as stream:
        stream.write(hashing.canonical_json(entries))
