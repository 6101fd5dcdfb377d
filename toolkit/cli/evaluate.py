"""`toolkit evaluate`: a trained model on a folder of labeled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.artifacts.model import Evaluation, MultilabelMetrics


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model.keras of the workspace's runs.")],
    data: Annotated[
        Path, typer.Option(help="Class folders, or a folder whose test/ holds them; for many labels a CSV file or VOC.")
    ],
    mistakes: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the worst mistakes into this image.")
    ] = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Judge a model: loss, accuracy, calibration; precision, recall, F1, ROC and PR areas per class; confusion."""
    from toolkit.progress import create_progress
    from toolkit.train import evaluate_folder
    from toolkit.workspace import Workspace

    judged = evaluate_folder(model, data, Workspace(workspace), create_progress(quiet=as_json), mistakes=mistakes)
    if as_json:
        output.print_json(judged)
    else:
        _print(judged)


def _print(judged: Evaluation) -> None:
    low, high = judged.interval
    top5 = "" if judged.top5 is None else f", top-5 {judged.top5:.4f}"
    of_what = "accuracy" if judged.multilabel is None else "accuracy (every label right)"
    print(f"{judged.images} images: {of_what} {judged.accuracy:.4f} (95 % {low:.3f} to {high:.3f}){top5}")
    ece = "" if judged.calibration is None else f", expected calibration error {judged.calibration.ece:.4f}"
    print(f"loss {judged.loss:.4f}{ece}\n")
    if judged.multilabel is not None:
        _print_labels(judged, judged.multilabel)
        return
    names = [score.label for score in judged.classes]
    output.print_table(
        ("class", "precision", "recall", "F1", "ROC AUC", "PR AUC", "images", *(f"said {name}" for name in names)),
        (
            (*_fractions(s.precision, s.recall, s.f1, s.roc_auc, s.average_precision, label=s.label), s.support, *said)
            for s, said in zip(judged.classes, judged.confusion, strict=True)
        ),
    )


def _print_labels(judged: Evaluation, found: MultilabelMetrics) -> None:
    """Of many labels to an image: averages, then each label with its VOC average precisions and its 2 x 2 table."""
    print(f"mean average precision {_fraction(found.mean_average_precision)} (VOC from 2010 on), ", end="")
    print(f"{_fraction(found.mean_eleven_point)} (VOC2007, 11 points); Hamming loss {found.hamming_loss:.4f}")
    for name, mean in (("micro", found.micro), ("macro", found.macro)):
        print(f"{name} average: precision {mean.precision:.4f}, recall {mean.recall:.4f}, F1 {mean.f1:.4f}")
    print()
    rows = zip(judged.classes, found.average_precision, found.eleven_point, found.confusions, strict=True)
    output.print_table(
        ("label", "precision", "recall", "F1", "ROC AUC", "AP", "AP 11", "images", "found", "missed", "false"),
        (
            (
                *_fractions(s.precision, s.recall, s.f1, s.roc_auc, area, eleven, label=s.label),
                s.support,
                hit,
                miss,
                false,
            )
            for s, area, eleven, ((_, false), (miss, hit)) in rows
        ),
    )


def _fraction(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}"


def _fractions(*values: float | None, label: str) -> tuple[str, ...]:
    return label, *("" if value is None else f"{value:.4f}" for value in values)
