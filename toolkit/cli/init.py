"""`toolkit init`: the experiment that `toolkit run FOLDER` would use, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli import options
from toolkit.errors import UsageError


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Folder with one subfolder of images per class, or a CSV list of images."
        ),
    ],
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: FOLDER.toml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
) -> None:
    """Write an experiment file for a folder.

    It holds every setting that `toolkit run FOLDER` would choose, with comments.
    """
    from toolkit import data
    from toolkit.experiment.load import load_experiment
    from toolkit.files import atomic_write
    from toolkit.progress import create_progress
    from toolkit.train.sweep import describe_settings
    from toolkit.workspace import Workspace

    target = file or folder.resolve().with_suffix(".toml")
    if target.exists() and not force:
        raise UsageError("this file exists", where=str(target), remedy="add --force to replace it, or --output FILE")
    plan = load_experiment(folder)
    split = data.prepare_dataset(plan.data, plan.origin, Workspace(workspace), create_progress())
    with atomic_write(target) as stream:
        stream.write(describe_settings(plan, split).encode())
    typer.echo(str(target))
