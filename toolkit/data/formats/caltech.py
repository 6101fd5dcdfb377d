"""Caltech-101 and -256: class folders, or an archive of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from toolkit import hashing
from toolkit.data.formats.folders import scan_folder
from toolkit.data.formats.scan import IgnoredFile, Scan
from toolkit.data.materialize import STAMP, extract, make_folder, unpacked_folder
from toolkit.device.image_header import IMAGE_SUFFIXES
from toolkit.errors import DataError
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.workspace import Workspace

_FOLDERS = ("101_ObjectCategories", "256_ObjectCategories")
_CLUTTER = {"BACKGROUND_Google", "clutter"}
_NUMBERED = re.compile(r"^\d{3}\.")


def read_caltech(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """Scan its folder, the folder around that, or the tar archive; not divided.

    "001.ak47" becomes the class "ak47". BACKGROUND_Google and 257.clutter are no class unless data.clutter asks for it.

    Raises:
        DataError: no such file, or an archive that cannot be used.
    """
    if root.is_file():
        root = _unpacked(root, workspace, progress)
    inside = next((root / name for name in _FOLDERS if (root / name).is_dir()), root)
    scan = scan_folder(inside)
    images = tuple(replace(image, label=_NUMBERED.sub("", image.label)) for image in scan.images)
    clutter = [image.path for image in images if image.label in _CLUTTER and not table.clutter]
    ignored = tuple(IgnoredFile(path, "background clutter; data.clutter makes it a class") for path in clutter)
    used = tuple(image for image in images if image.path not in set(clutter))
    return replace(scan, images=used, ignored=scan.ignored + ignored)


def extracted_name(member: str) -> str | None:
    """Where a member of the archive goes: CLASS/image, or nowhere."""
    path = PurePosixPath(member)
    named = path.name != STAMP and not path.name.startswith(".") and len(path.parts) >= 2
    return f"{path.parent.name}/{path.name}" if named and path.suffix.lower() in IMAGE_SUFFIXES else None


def _unpacked(archive: Path, workspace: Workspace, progress: Progress) -> Path:
    """The images of an archive, as CLASS/image."""
    source = {"archive": hashing.sha256_file(archive)}
    folder = unpacked_folder("caltech", source, workspace)

    def fill(folder: Path) -> None:
        if not extract([archive], folder, "toolkit.data.formats.caltech:extracted_name"):
            remedy = "give 101_ObjectCategories.tar.gz or 256_ObjectCategories.tar"
            raise DataError("contains no CLASS/image", where=str(archive), remedy=remedy)

    if make_folder(folder, source, fill):
        progress.log(f"unpacked {archive.name}")
    return folder
