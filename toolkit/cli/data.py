"""`toolkit data`: look at a data set, divide it, make the synthetic mask set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output
from toolkit.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.artifacts.dataset import Split
    from toolkit.data.near_duplicates import Pair
    from toolkit.data.prepare import DatasetSummary
    from toolkit.experiment.schema import DataTable

app = typer.Typer(name="data", help="Look at a data set, divide it, make the synthetic mask set.", no_args_is_help=True)

_DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="A data set's folder, archive or CSV file, or an experiment file.")
]
_SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="KIND",
        help="What DATA is: folders (the default), csv, cifar10, cifar100, idx, flowers102, caltech, imagenet or voc.",
    ),
]
_Fraction = typer.Option(min=0, max=1, help="The fraction of the images for this part.")


@app.command()
def inspect(
    data: _DataArgument,
    source: _SourceOption = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> int:
    """Read every image of DATA; print classes, parts and sizes, images that look the same, and all that is wrong."""
    from toolkit.data.prepare import summarize
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    progress = create_progress(quiet=as_json)
    found = summarize(_table(data, source), Workspace(workspace), progress)
    alike = found.alike(progress)
    if as_json:
        output.print_json(_summary(found, alike))
    else:
        _print_survey(found, alike)
    return ExitCode.SOME_FAILED if found.problems else ExitCode.DONE


@app.command()
def split(
    data: _DataArgument,
    source: _SourceOption = None,
    train: Annotated[float, _Fraction] = 0.7,
    validation: Annotated[float, _Fraction] = 0.1,
    test: Annotated[float, _Fraction] = 0.2,
    group: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Keep images together whose file names agree in its first group."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="What the shuffle follows from.")] = 0,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Divide DATA into train, validation and test, and write the split manifest.

    Parts that come with the data are kept. With an experiment file its [data] decides, and the options do not apply.
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
    seed: Annotated[int, typer.Option(min=0, help="What every mask follows from.")] = 0,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Make the synthetic mask set from real faces, and divide it by person."""
    from toolkit.data.prepare import prepare_masks
    from toolkit.experiment.schema import DataTable
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    table = DataTable(source="synthetic-masks", seed=seed)
    _print_split(prepare_masks(table, Workspace(workspace), create_progress(quiet=as_json)), workspace, as_json=as_json)


def _table(data: Path, source: str | None, **settings: object) -> DataTable:
    """What the command's words say of the data; its paths made whole."""
    from toolkit.data.formats import FORMATS
    from toolkit.data.prepare import resolve_paths
    from toolkit.errors import UsageError
    from toolkit.experiment.schema import DataTable, load

    if source is None and data.suffix == ".toml":
        experiment = load(data)
        return resolve_paths(experiment.data, experiment.origin)
    kind = source or ("csv" if data.suffix.lower() == ".csv" else "folders")
    if kind not in FORMATS:
        raise UsageError(f'--source "{kind}" is not known', remedy=f"choose one of {', '.join(FORMATS)}")
    return DataTable.model_validate({"source": kind, "path": data.resolve(), **settings})


def _print_split(made: Split, workspace: Path, *, as_json: bool) -> None:
    if as_json:
        output.print_json(made)
        return
    rows = [(part, *counts.values(), made.size(part)) for part, counts in made.counts.items()]
    title = f"{made.name} ({made.note})" if made.note else made.name
    output.print_table(("part", *made.labels, "all"), rows, title=title)
    print(workspace / made.path)


def _summary(found: DatasetSummary, alike: Sequence[Pair]) -> dict[str, object]:
    """What a program wants to know of a survey."""
    return {
        "folder": found.scan.root,
        "divided": found.scan.divided,
        "labels": found.scan.labels,
        "counts": found.counts(),
        "sizes": found.sizes(),
        "ignored": found.scan.ignored,
        "alike": [
            {
                "images": [found.checked[pair.one].found.path, found.checked[pair.other].found.path],
                "correlation": round(pair.correlation, 4),
            }
            for pair in alike
        ],
        "problems": found.problems,
    }


def _print_survey(found: DatasetSummary, alike: Sequence[Pair]) -> None:
    import sys

    rows = [(part, label, number) for part, labels in found.counts().items() for label, number in labels.items()]
    output.print_table(("part", "class", "images"), rows, title=str(found.scan.root))
    if sizes := found.sizes():
        print(f"height {sizes['height'][0]}…{sizes['height'][1]}, width {sizes['width'][0]}…{sizes['width'][1]} pixels")
    if found.scan.ignored:
        print(f"{len(found.scan.ignored)} files ignored: no images by their names")
    for line in found.told_alike(alike):
        print(line)
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
