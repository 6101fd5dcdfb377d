"""The packages of each extra, in the versions that the toolkit requires."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PROJECT = "edge-vision-toolkit"
PARTS = {"device": "inference", "train": "training and conversion", "fleet": "deploy and bench", "report": "the report"}
"""Extras, and what needs each."""


def check(place: Place) -> Iterator[Finding]:
    """Check each extra."""
    del place
    try:
        requirements = metadata.requires(PROJECT) or []
    except metadata.PackageNotFoundError:
        yield bad(f"{PROJECT} is not installed; only its source is on the path", "just setup, or pip install -e .[all]")
        return
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        yield bad("the package packaging is missing, so the others cannot be checked", "pip install 'packaging>=24'")
        return
    required = [Requirement(text) for text in requirements]
    yield from (_part(part, required) for part in ("", *PARTS))


def _part(part: str, required: list[Requirement]) -> Finding:
    own = [each for each in required if _belongs(each, part) and not each.extras]
    missing = [
        f"{each.name} {version or 'missing'} (requires {each.specifier})"
        for each in own
        if (version := _wrong_version(each)) is not None
    ]
    title = PARTS.get(part, "the command itself")
    if not missing:
        return good(f"{title}: {len(own)} packages")
    remedy = f"just setup, or pip install '{PROJECT}{f'[{part}]' if part else ''}'"
    return (warning if part else bad)(f"{title}: {'; '.join(missing)}", remedy)


def _belongs(requirement: Requirement, part: str) -> bool:
    """Return whether this extra requires it on this machine."""
    marker = requirement.marker
    if not part:
        return marker is None or ("extra" not in str(marker) and marker.evaluate())
    return (
        marker is not None
        and re.search(rf'extra == "{part}"', str(marker)) is not None
        and marker.evaluate({"extra": part})
    )


def _wrong_version(requirement: Requirement) -> str | None:
    """Return the installed version if it does not fit, "" if it is missing, None if it fits."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return ""
    return None if requirement.specifier.contains(version, prereleases=True) else version


CHECK = Check("packages", "everything", check)
