"""`toolkit data`: check and split data sets, and create the synthetic mask data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli import options, output
from toolkit.errors import ExitCode
from toolkit.progress import log_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.artifacts.dataset import Split
    from toolkit.data.near_duplicates import DuplicatePair
    from toolkit.data.prepare import DatasetSummary
    from toolkit.experiment.schema import DataConfig
    from toolkit.train.label_review import DoubtfulLabel

app = typer.Typer(name="data", help="Check and split data sets.", no_args_is_help=True)

_DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder, archive or CSV file of a data set, or an experiment file.")
]
_SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="FORMAT",
        help="Format of DATA: folders, csv, cifar10, cifar100, idx, flowers102, caltech, imagenet or voc. "
        "Default: csv for a .csv file, else folders.",
    ),
]
_VERSION: Any = typer.Argument(metavar="VERSION", help="Version of a data set, such as v1 or face-mask@v2.")
_Fraction = typer.Option(min=0, max=1, metavar="SHARE", help="Share of the images for this subset.")


@app.command()
def inspect(
    data: _DataArgument,
    source: _SourceOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> int:
    """Check a data set and summarize it.

    Reads every image; prints classes, subsets, sizes, near duplicates and all problems. Exit code 1 if there are any.
    """
    from toolkit.data.prepare import summarize
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    progress = create_progress(quiet=as_json)
    result = summarize(_table(data, source), Workspace(workspace), progress)
    duplicates = result.near_duplicates(progress)
    if as_json:
        output.print_json(_summary(result, duplicates))
    else:
        _print_survey(result, duplicates)
    return ExitCode.SOME_FAILED if result.problems else ExitCode.DONE


@app.command()
def split(
    data: _DataArgument,
    source: _SourceOption = None,
    train: Annotated[float, _Fraction] = 0.7,
    validation: Annotated[float, _Fraction] = 0.1,
    test: Annotated[float, _Fraction] = 0.2,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Regular expression for file names; images with the same first group stay in one subset.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the shuffle.")] = 0,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Split a data set and write the manifest.

    Subsets in the data are used unchanged. With an experiment file, its [data] table applies instead of the options.
    """
    from toolkit.data import prepare_dataset
    from toolkit.errors import UsageError
    from toolkit.experiment.schema import SplitFractions
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    if abs(train + validation + test - 1) > 1e-6:
        remedy = "choose fractions that add up to 1"
        raise UsageError(f"--train, --validation and --test add up to {train + validation + test:g}", remedy=remedy)
    shares = SplitFractions(train=train, validation=validation, test=test)
    table = _table(data, source, seed=seed, split=shares, group=group)
    place = Workspace(workspace)
    _print_split(
        prepare_dataset(table, data.resolve(), place, create_progress(quiet=as_json)), workspace, as_json=as_json
    )


@app.command()
def masks(
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the masks.")] = 0,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Create the synthetic mask data set.

    Paints masks on portraits and splits them by person.
    """
    from toolkit.data.prepare import prepare_masks
    from toolkit.experiment.schema import DataConfig
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    table = DataConfig(source="synthetic-masks", seed=seed)
    _print_split(prepare_masks(table, Workspace(workspace), create_progress(quiet=as_json)), workspace, as_json=as_json)


@app.command()
def review(
    experiment: Annotated[Path, options.EXPERIMENT_ARGUMENT],
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of labels to list.")] = 100,
    destination: Annotated[
        Path, typer.Option("--output", metavar="FOLDER", help="Folder for doubtful.csv and doubtful.png.")
    ] = Path("review"),
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """List the labels that are most likely wrong.

    Judges each image by frozen features, with a model trained without it. Writes a CSV file and a contact sheet; changes
    no label.
    """
    from toolkit.data import prepare_dataset
    from toolkit.experiment.load import load_experiment
    from toolkit.progress import create_progress
    from toolkit.train.label_review import review_labels
    from toolkit.workspace import Workspace

    plan, place, progress = load_experiment(experiment), Workspace(workspace), create_progress(quiet=as_json)
    split = prepare_dataset(plan.data, plan.origin, place, progress)
    destination.mkdir(parents=True, exist_ok=True)
    labels = review_labels(plan, split, place, progress, limit=limit, sheet=destination / "doubtful.png")
    _write_review(labels, destination / "doubtful.csv")
    if as_json:
        output.print_json(labels)
    else:
        rows = [(one.image.name, one.label, one.suggestion, f"{one.probability_of_suggestion:.1%}") for one in labels]
        output.print_table(("image", "label", "rather", "probability"), rows, title=f"doubtful labels of {split.name}")
        print(destination / "doubtful.png")


@app.command()
def diff(
    first: Annotated[str, _VERSION],
    second: Annotated[str, _VERSION],
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Compare two versions of a data set.

    Lists the images that were added, removed, relabeled or moved to another subset. A version is named EXPERIMENT@vN,
    vN, or by the first digits of its split's digest.
    """
    from toolkit.loop.version_diff import diff_versions
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    place = Workspace(workspace)
    with Store(place.database) as store:
        result = diff_versions(first, second, place, store)
    if as_json:
        output.print_json(result)
        return
    rows = [(*change, number) for change, number in result.counts().items()]
    title = f"{result.first} ({result.first_digest[:12]}) → {result.second} ({result.second_digest[:12]})"
    output.print_table(("change", "subset", "class", "images"), rows, title=title)


@app.command()
def trace(
    capture: Annotated[str, typer.Argument(metavar="CAPTURE", help="First four or more digits of its digest.")],
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Follow a captured image to its releases.

    Shows the device and release that it came from, who labeled it, and the data set versions, models and releases that
    use it.
    """
    from toolkit.loop.trace import format_lineage, trace_capture
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    with Store(Workspace(workspace).database) as store:
        result = trace_capture(capture, store)
    if as_json:
        output.print_json(result)
    else:
        output.print_table(("step", "what"), format_lineage(result))


def _write_review(labels: Sequence[DoubtfulLabel], path: Path) -> None:
    """Write all fields of the labels as CSV."""
    import csv
    import io
    from dataclasses import astuple

    from toolkit.files import atomic_write, csv_text
    from toolkit.train.label_review import COLUMNS

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([csv_text(str(cell)) for cell in astuple(one)] for one in labels)
    with atomic_write(path) as stream:
        stream.write(text.getvalue().encode())


def _table(data: Path, source: str | None, **settings: object) -> DataConfig:
    """Return the data table that the arguments describe, with absolute paths."""
    from toolkit.data.formats import known_formats
    from toolkit.data.prepare import resolve_paths
    from toolkit.errors import UsageError
    from toolkit.experiment.load import load_experiment
    from toolkit.experiment.schema import DataConfig

    if source is None and data.suffix == ".toml":
        experiment = load_experiment(data)
        return resolve_paths(experiment.data, experiment.origin)
    kind = source or ("csv" if data.suffix.lower() == ".csv" else "folders")
    if kind not in known_formats():
        raise UsageError(f"unknown data format {kind!r}", remedy=f"choose one of {', '.join(known_formats())}")
    return DataConfig.model_validate({"source": kind, "path": data.resolve(), **settings})


def _print_split(split_: Split, workspace: Path, *, as_json: bool) -> None:
    if as_json:
        output.print_json(split_)
        return
    rows = [(part, *counts.values(), split_.size(part)) for part, counts in split_.counts.items()]
    title = f"{split_.name} ({split_.note})" if split_.note else split_.name
    output.print_table(("subset", *split_.labels, "all"), rows, title=title)
    print(workspace / split_.path)


def _summary(result: DatasetSummary, duplicates: Sequence[DuplicatePair]) -> dict[str, object]:
    """Return a survey for JSON."""
    return {
        "folder": result.scan.root,
        "divided": result.scan.divided,
        "labels": result.scan.labels,
        "counts": result.counts(),
        "sizes": result.sizes(),
        "files": result.files(),
        "ignored": result.scan.ignored,
        "near_duplicates": [
            {
                "images": [result.checked[pair.one].file.path, result.checked[pair.other].file.path],
                "correlation": round(pair.correlation, 4),
            }
            for pair in duplicates
        ],
        "problems": result.problems,
    }


def _print_survey(result: DatasetSummary, duplicates: Sequence[DuplicatePair]) -> None:
    rows = [(part, label, number) for part, labels in result.counts().items() for label, number in labels.items()]
    output.print_table(("subset", "class", "images"), rows, title=str(result.scan.root))
    if sizes := result.sizes():
        print(f"height {sizes['height'][0]}…{sizes['height'][1]}, width {sizes['width'][0]}…{sizes['width'][1]} pixels")
    for line in result.format_files():
        print(line)
    for line in result.format_near_duplicates(duplicates):
        print(line)
    for problem in result.problems:
        log_error(str(problem), what=problem.what, where=problem.where, remedy=problem.remedy)
