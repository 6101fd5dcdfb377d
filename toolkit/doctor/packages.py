"""The wheels of each part: there, and no other version than the toolkit asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from toolkit.doctor.finding import Check, Finding, Place, bad, care, good

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PROJECT = "edge-vision-toolkit"
PARTS = {"device": "inference", "train": "training and conversion", "fleet": "deploy and bench", "report": "the report"}
"""Extras, and what each is for."""


def look(place: Place) -> Iterator[Finding]:
    """One finding per part."""
    del place
    try:
        stated = metadata.requires(PROJECT) or []
    except metadata.PackageNotFoundError:
        yield bad(f"{PROJECT} is not installed, only its source is on the path", "just setup, or pip install -e .[all]")
        return
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        yield bad("the package packaging is missing, so the others cannot be checked", "pip install 'packaging>=24'")
        return
    wanted = [Requirement(text) for text in stated]
    yield from (_part(part, wanted) for part in ("", *PARTS))


def _part(part: str, wanted: list[Requirement]) -> Finding:
    own = [each for each in wanted if _belongs(each, part) and not each.extras]
    lacking = [
        f"{each.name} {found or 'missing'} (wants {each.specifier})"
        for each in own
        if (found := _wrong(each)) is not None
    ]
    title = PARTS.get(part, "the command itself")
    if not lacking:
        return good(f"{title}: {len(own)} packages")
    remedy = f"just setup, or pip install '{PROJECT}{f'[{part}]' if part else ''}'"
    return (care if part else bad)(f"{title}: {'; '.join(lacking)}", remedy)


def _belongs(requirement: Requirement, part: str) -> bool:
    """Whether it is of this extra alone, on this machine."""
    marker = requirement.marker
    if not part:
        return marker is None or ("extra" not in str(marker) and marker.evaluate())
    return (
        marker is not None
        and re.search(rf'extra == "{part}"', str(marker)) is not None
        and marker.evaluate({"extra": part})
    )


def _wrong(requirement: Requirement) -> str | None:
    """The version if it is another than wanted, "" if there is none, None if all is well."""
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return ""
    return None if requirement.specifier.contains(found, prereleases=True) else found


CHECK = Check("packages", "everything", look)
