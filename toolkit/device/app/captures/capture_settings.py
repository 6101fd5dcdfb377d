"""The table [capture] of the settings file: which images are stored, how many, and for how long.

[capture]
policies = ["unsure", "change", "unknown", "random", "requested"]
random_every = 2000     # one frame in so many, by chance
margin = 0.2            # unsure: the best two probabilities differ by less
change_frames = 10      # frames in a row after which a class counts as held
cool_down_s = 10        # between two captures of one policy; random and requested have none
most = 2000             # captures on the device
most_of_class = 500     # of one class, not counting random ones
most_mib = 512
reserve_mib = 256       # free space that is left to others
retention_days = 30
masks = [[0, 0, 0.3, 1]]      # black: left, top, right, bottom in parts of the image
region = [0.1, 0.1, 0.9, 0.9] # black outside of it
folder = "/srv/captures"      # default: captures in ROOT
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ...capture_record import POLICIES
from ...errors import DeviceError
from ...layout import CAPTURES, CURRENT, RELEASES
from ..alerts.sinks import read_fields
from ..regions import Region, read_region
from ..settings_file import read_settings_file

TABLE = "capture"
OTHER_TABLES = ("drift",)
"""Of the same file."""
MIB = 1 << 20


@dataclass(frozen=True)
class CaptureLimits:
    """The numbers of [capture], each a plain value of the file."""

    random_every: int = 2000
    margin: float = 0.2
    change_frames: int = 10
    cool_down_s: float = 10.0
    most: int = 2000
    most_of_class: int = 500
    most_mib: int = 512
    reserve_mib: int = 256
    retention_days: float = 30.0
    folder: str = ""

    def problems(self) -> Iterator[str]:
        """Yield the fields that are not valid, with the reason."""
        for name in ("random_every", "change_frames", "most", "most_of_class", "most_mib"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                yield f"{name}: is not from 1 to 1000000"
        if not 0 <= self.reserve_mib <= 1_000_000:
            yield "reserve_mib: is not from 0 to 1000000"
        if not 0 <= self.margin <= 1:
            yield f"margin: {self.margin} is not from 0 to 1"
        if not 0 <= self.cool_down_s <= 86_400:
            yield f"cool_down_s: {self.cool_down_s} is not from 0 to 86400 seconds"
        if not 0 < self.retention_days <= 3650:
            yield f"retention_days: {self.retention_days} is not above 0 and at most 3650 days"


@dataclass(frozen=True)
class CaptureSettings:
    """All of [capture]."""

    folder: Path
    limits: CaptureLimits = CaptureLimits()
    policies: Tuple[str, ...] = POLICIES
    masks: Tuple[Region, ...] = ()
    """Regions that are made black before anything is stored."""


def read_capture_settings(path: Optional[Path], release: Path) -> Optional[CaptureSettings]:
    """Return the settings of the file; None without a file, or if it has no [capture].

    Raises:
        DeviceError: the file cannot be read or is not valid; names every problem.
    """
    content = {} if path is None else read_settings_file(path)
    table = content.pop(TABLE, None)
    problems = [f"{key}: is not known" for key in content if key not in OTHER_TABLES]
    settings = None if table is None else _read_table(table, release, problems)
    if problems:
        raise DeviceError("; ".join(problems), where=str(path), remedy="docs/guides/capture.md has an example")
    return settings


def _read_table(table: Any, release: Path, problems: List[str]) -> Optional[CaptureSettings]:
    if not isinstance(table, dict):
        problems.append(f"{TABLE}: is not a table")
        return None
    own = dict(table)
    policies = _read_policies(own.pop("policies", list(POLICIES)), problems)
    masks = _read_masks(own, problems)
    limits = read_fields(CaptureLimits, own, TABLE, problems)
    if limits is None:
        return None
    problems += [f"{TABLE}.{problem}" for problem in limits.problems()]
    folder = captures_folder(limits.folder, release, TABLE, problems)
    return replace(CaptureSettings(folder, limits), policies=policies, masks=masks)


def captures_folder(folder: str, release: Path, table: str, problems: List[str]) -> Path:
    """Return the folder of captures: the one of the settings, or that of the release's ROOT."""
    if folder and not Path(folder).is_absolute():
        problems.append(f"{table}.folder: {folder} is not an absolute path")
    root = _root_of(release.absolute())
    if not folder and root is None:
        problems.append(f"{table}.folder: is missing, and the release is not in a ROOT")
    return Path(folder) if folder or root is None else root / CAPTURES


def _root_of(release: Path) -> Optional[Path]:
    """Return the ROOT whose current release, or one of whose releases, this is."""
    if release.name == CURRENT:
        return release.parent
    return release.parent.parent if release.parent.name == RELEASES else None


def _read_policies(value: Any, problems: List[str]) -> Tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(policy in POLICIES for policy in value):
        problems.append(f"{TABLE}.policies: is not a list of {', '.join(POLICIES)}")
        return ()
    return tuple(value)


def _read_masks(table: Dict[str, Any], problems: List[str]) -> Tuple[Region, ...]:
    """Take `masks` and `region` out of the table; return the regions to be made black."""
    covered: List[Region] = []
    masks, region = table.pop("masks", []), table.pop("region", None)
    if not isinstance(masks, list):
        problems.append(f"{TABLE}.masks: is not a list of [left, top, right, bottom]")
        masks = []
    try:
        covered += [read_region(mask) for mask in masks]
        covered += [] if region is None else _outside(read_region(region))
    except ValueError as error:
        problems.append(f"{TABLE}.masks or region: {error}")
    return tuple(covered)


def _outside(region: Region) -> List[Region]:
    """Return the regions that cover all but one."""
    sides = (
        Region(0, 0, 1, region.top),
        Region(0, region.bottom, 1, 1),
        Region(0, 0, region.left, 1),
        Region(region.right, 0, 1, 1),
    )
    return [side for side in sides if side.left < side.right and side.top < side.bottom]
