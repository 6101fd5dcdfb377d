"""The data formats, by their names in an experiment. Each yields image files with labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType

from toolkit.data.formats.caltech import read_caltech
from toolkit.data.formats.cifar import read_cifar
from toolkit.data.formats.csv_list import read_csv_list
from toolkit.data.formats.faces import read_faces
from toolkit.data.formats.flowers import read_flowers
from toolkit.data.formats.folders import scan_folder
from toolkit.data.formats.idx import read_idx
from toolkit.data.formats.imagenet import read_imagenet
from toolkit.data.formats.scan import Scan
from toolkit.data.formats.voc import read_voc
from toolkit.errors import DataError
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Progress
from toolkit.system.plugins import load_plugin, plugin_names
from toolkit.workspace import Workspace

FormatReader = Callable[[DataConfig, Path, Workspace, Progress], Scan]


def read_folders(table: DataConfig, root: Path, workspace: Workspace, progress: Progress) -> Scan:
    """Class folders, or subsets with class folders in each."""
    del table, workspace, progress
    return scan_folder(root)


FORMATS: Mapping[str, FormatReader] = {
    "folders": read_folders,
    "csv": read_csv_list,
    "cifar10": read_cifar,
    "cifar100": read_cifar,
    "idx": read_idx,
    "flowers102": read_flowers,
    "caltech": read_caltech,
    "imagenet": read_imagenet,
    "voc": read_voc,
    "faces": read_faces,
}


def known_formats() -> tuple[str, ...]:
    """Return the names of all formats, those of plugins after the toolkit's own."""
    return (*FORMATS, *plugin_names("data_formats"))


def scan_source(table: DataConfig, workspace: Workspace, progress: Progress) -> Scan:
    """What the table, whose path is whole, names; problems are collected, not raised."""
    root = table.path or Path()
    reader = FORMATS.get(table.source) or load_plugin("data_formats", table.source, FunctionType)
    try:
        scan: Scan = reader(table, root, workspace, progress)
    except DataError as error:
        return Scan(root, problems=error.problems)
    return scan
