"""`toolkit label`: the labeling page, and labels from and to other tools."""

from __future__ import annotations

import getpass
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.loop.label_import import LabelImport
    from toolkit.loop.label_queue import LabelQueue
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
            help="File or folder of labels to import; if it has an error, nothing is recorded.",
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
    new_class: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Class that the first model does not have; recorded permanently.",
        ),
    ] = None,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name to record with each label. Default: your login name.")
    ] = None,
    clusters: Annotated[
        bool,
        typer.Option(
            "--clusters/--no-clusters",
            help="Group similar images, to label them together; takes seconds to start.",
        ),
    ] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port on loopback; 0: any free one.")] = 0,
    show: options.OpenOption = True,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Label the images that devices captured.

    Serves a page on this machine until Ctrl-C; only its URL, which contains a token, gives access. Labels are only
    appended: a later label replaces an earlier one, and each records who gave it and when.
    """
    from toolkit.errors import UsageError
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    if import_file and export_file:
        raise UsageError("--import and --export cannot be used together", remedy="run the command twice")
    place = Workspace(workspace)
    with Store(place.database) as store:
        if new_class:
            _add_classes(experiment, new_class, who or _login(), place, store)
        if not import_file and not export_file:
            queue = _queue(experiment, who or _login(), place, store, clusters=clusters, quiet=as_json)
            _serve(queue, place, port, show=show, as_json=as_json)
        if import_file is not None:
            result = _import(experiment, import_file, form, who or _login(), place, store)
            recorded, strangers = len(result.choices), len(result.strangers)
            _print({"recorded": recorded, "not_captures": strangers}, f"labels recorded: {recorded}", as_json=as_json)
        if export_file is not None:
            labeled, captures = _export(export_file, form, place, store)
            text = f"{export_file}: {labeled} of {captures} captures have a label"
            _print({"path": export_file, "labeled": labeled, "captures": captures}, text, as_json=as_json)


def _serve(queue: LabelQueue, place: Workspace, port: int, *, show: bool, as_json: bool) -> None:
    from toolkit.loop.label_server import serve_labels

    with serve_labels(queue, place, port) as url:
        _print({"url": url, "captures": len(queue.captures)}, url, as_json=as_json)
        sys.stdout.flush()
        typer.echo("press Ctrl-C to stop; each label is saved immediately", err=True)
        if show:
            typer.launch(url)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _queue(experiment: Path, who: str, place: Workspace, store: Store, *, clusters: bool, quiet: bool) -> LabelQueue:
    """Return the captures in the order in which they are to be labeled."""
    from toolkit import data
    from toolkit.captures import present
    from toolkit.experiment.load import load_experiment
    from toolkit.loop.added_classes import with_added_classes
    from toolkit.loop.clusters import cluster_captures, queue_order
    from toolkit.loop.decisions import person
    from toolkit.loop.label_queue import LabelQueue
    from toolkit.loop.retrain import trial_to_retrain
    from toolkit.progress import create_progress

    plan, progress, captures = load_experiment(experiment), create_progress(quiet=quiet), present(store, place)
    split = data.prepare_dataset(plan.data, plan.origin, place, progress)
    alike = cluster_captures(plan, trial_to_retrain(plan, store), split, captures, place, progress) if clusters else {}
    classes = with_added_classes(split.labels, store, plan.name)
    return LabelQueue(plan.name, classes, queue_order(captures, alike), alike, store, person(who))


def _add_classes(experiment: Path, names: list[str], who: str, place: Workspace, store: Store) -> None:
    from toolkit import data
    from toolkit.experiment.load import load_experiment
    from toolkit.loop.added_classes import add_classes
    from toolkit.progress import create_progress

    plan = load_experiment(experiment)
    split = data.prepare_dataset(plan.data, plan.origin, place, create_progress(quiet=True))
    add_classes(store, plan.name, names, split.labels, who=who)


def _print(result: dict[str, object], text: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(result)
    else:
        typer.echo(text)


def _import(experiment: Path, file: Path, form: str | None, who: str, place: Workspace, store: Store) -> LabelImport:
    from toolkit import data
    from toolkit.captures import collected
    from toolkit.experiment.load import load_experiment
    from toolkit.loop.added_classes import with_added_classes
    from toolkit.loop.decisions import record
    from toolkit.loop.label_import import read_labels
    from toolkit.progress import create_progress

    plan = load_experiment(experiment)
    split = data.prepare_dataset(plan.data, plan.origin, place, create_progress(quiet=True))
    classes = with_added_classes(split.labels, store, plan.name)
    result = read_labels(file, form, classes, {capture.digest for capture in collected(store)})
    record(store, result.choices, who=who, origin=file.name)
    return result


def _export(file: Path, form: str | None, place: Workspace, store: Store) -> tuple[int, int]:
    """Return the numbers of labeled captures and of all."""
    from toolkit.captures import present
    from toolkit.loop.decisions import standing_decisions
    from toolkit.loop.label_export import write_labels

    captures = present(store, place)
    return write_labels(file, form, captures, standing_decisions(store), place), len(captures)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "nobody"
