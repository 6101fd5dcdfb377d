"""`toolkit evaluate`: a trained model on a folder of labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.artifacts import Evaluation


def evaluate(
    model: Annotated[Path, typer.Argument(help="A model.keras of the workspace's runs.")],
    data: Annotated[Path, typer.Option(help="Class folders, or a folder whose test/ holds them.")],
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Judge a model: loss, accuracy, precision, recall and F1 per class, confusion, top-5."""
    from toolkit.artifacts import Workspace
    from toolkit.progress import for_people
    from toolkit.train import evaluate_folder

    judged = evaluate_folder(model, data, Workspace(workspace), for_people(quiet=as_json))
    if as_json:
        output.print_json(judged)
    else:
        _print(judged)


def _print(judged: Evaluation) -> None:
    low, high = judged.interval
    top5 = "" if judged.top5 is None else f", top-5 {judged.top5:.4f}"
    print(f"{judged.pictures} pictures: accuracy {judged.accuracy:.4f} (95 % {low:.3f} to {high:.3f}){top5}")
    print(f"loss {judged.loss:.4f}\n")
    names = [score.label for score in judged.classes]
    output.print_table(
        ("class", "precision", "recall", "F1", "pictures", *(f"said {name}" for name in names)),
        (
            (s.label, f"{s.precision:.4f}", f"{s.recall:.4f}", f"{s.f1:.4f}", s.support, *said)
            for s, said in zip(judged.classes, judged.confusion, strict=True)
        ),
    )
