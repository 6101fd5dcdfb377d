"""`toolkit label`: labels of captures, from and to other tools."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.loop.label_import import LabelImport
    from toolkit.store import Store
    from toolkit.workspace import Workspace

FILES = "Other tools"


def label(
    experiment: Annotated[Path, options.EXPERIMENT_ARGUMENT],
    import_file: Annotated[
        Path | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="File or folder of labels to record. Nothing is recorded if anything in it is wrong.",
            rich_help_panel=FILES,
        ),
    ] = None,
    export_file: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="File or folder to write labels to.", rich_help_panel=FILES),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Format of the file: csv, folders, coco or label-studio. Default: by its name and content.",
            rich_help_panel=FILES,
        ),
    ] = None,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides, as recorded. Default: your login name.")
    ] = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Label the images that devices captured.

    Records are only appended: a later label overrules an earlier one, and every label names who gave it and when.
    """
    from toolkit.errors import UsageError
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    if (import_file is None) == (export_file is None):
        raise UsageError("nothing to do", remedy="use --import FILE or --export FILE")
    place = Workspace(workspace)
    with Store(place.database) as store:
        if import_file is not None:
            result = _import(experiment, import_file, form, who or _login(), place, store)
            recorded, strangers = len(result.choices), len(result.strangers)
            _print({"recorded": recorded, "not_captures": strangers}, f"labels recorded: {recorded}", as_json=as_json)
        if export_file is not None:
            labeled, captures = _export(export_file, form, place, store)
            text = f"{export_file}: {labeled} of {captures} captures have a label"
            _print({"path": export_file, "labeled": labeled, "captures": captures}, text, as_json=as_json)


def _print(result: dict[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(result)
    else:
        typer.echo(text)


def _import(experiment: Path, file: Path, form: str | None, who: str, place: Workspace, store: Store) -> LabelImport:
    from toolkit import data
    from toolkit.captures import collected
    from toolkit.experiment.load import load_experiment
    from toolkit.loop.decisions import record
    from toolkit.loop.label_import import read_labels
    from toolkit.progress import create_progress

    plan = load_experiment(experiment)
    split = data.prepare_dataset(plan.data, plan.origin, place, create_progress(quiet=True))
    result = read_labels(file, form, split.labels, {capture.digest for capture in collected(store)})
    record(store, result.choices, who=who, origin=file.name)
    return result


def _export(file: Path, form: str | None, place: Workspace, store: Store) -> tuple[int, int]:
    """Return the numbers of labeled captures and of all."""
    from toolkit.captures import collected
    from toolkit.loop.decisions import standing_decisions
    from toolkit.loop.label_export import write_labels

    captures = collected(store)
    return write_labels(file, form, captures, standing_decisions(store), place), len(captures)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "nobody"
