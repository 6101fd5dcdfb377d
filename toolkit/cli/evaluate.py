"""`toolkit evaluate`: metrics of a trained model or a bundle on labeled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.artifacts.model import Evaluation, MultilabelMetrics
    from toolkit.progress import Progress
    from toolkit.workspace import Workspace


def evaluate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="model.keras of a run, or folder, name or digest of a bundle."),
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Class folders, or a folder with test/; for multi-label models a CSV file or VOC."
        ),
    ],
    mistakes: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="File for a contact sheet of the worst mistakes.")
    ] = None,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Evaluate a model or bundle on labeled images.

    Prints loss, accuracy and calibration; precision, recall, F1, ROC and PR areas per class; and the confusion matrix.
    """
    from toolkit.progress import create_progress
    from toolkit.workspace import Workspace

    place, progress = Workspace(workspace), create_progress(quiet=as_json)
    if model.endswith(".keras"):
        from toolkit.train import evaluate_folder

        evaluation = evaluate_folder(Path(model), data, place, progress, mistakes=mistakes)
    else:
        evaluation = _evaluate_bundle(model, data, place, progress, mistakes)
    if as_json:
        output.print_json(evaluation)
    else:
        _print(evaluation)


def _evaluate_bundle(
    bundle: str, folder: Path, workspace: Workspace, progress: Progress, mistakes: Path | None
) -> Evaluation:
    """A bundle on this machine's processor, in float32: its accuracy without a device's own precision."""
    import numpy as np

    from toolkit.bundle.resolve import bundle_folder
    from toolkit.bundle.verify import verify_bundle
    from toolkit.convert import parity
    from toolkit.device import rejection
    from toolkit.device.layout import model_file
    from toolkit.store import Store
    from toolkit.train import ClassifierSpec, evaluate_images

    with Store(workspace.database) as store:
        path = bundle_folder(bundle, workspace, store)
    manifest = verify_bundle(path)
    multi_label = manifest["output"]["kind"] == "multi-sigmoid"
    task = ClassifierSpec(
        labels=tuple(manifest["labels"]),
        input_size=(manifest["input"]["height"], manifest["input"]["width"]),
        crop=manifest["input"]["crop"],
        multi_label=multi_label,
    )

    def logits_of(pixels: np.ndarray) -> np.ndarray:
        shares = np.clip(parity.predict(model_file(path), [pixels]).astype(np.float64), 1e-12, 1 - 1e-12)
        return np.asarray(np.log(shares / (1 - shares)) if multi_label else np.log(rejection.of_each_class(shares)))

    return evaluate_images(task, logits_of, folder, workspace, progress, mistakes=mistakes)


def _print(evaluation: Evaluation) -> None:
    low, high = evaluation.interval
    top5 = "" if evaluation.top5 is None else f", top-5 {evaluation.top5:.4f}"
    of_what = "accuracy" if evaluation.multilabel is None else "accuracy (every label right)"
    print(f"{evaluation.images} images: {of_what} {evaluation.accuracy:.4f} (95 % {low:.3f} to {high:.3f}){top5}")
    ece = "" if evaluation.calibration is None else f", expected calibration error {evaluation.calibration.ece:.4f}"
    print(f"loss {evaluation.loss:.4f}{ece}\n")
    if evaluation.multilabel is not None:
        _print_labels(evaluation, evaluation.multilabel)
        return
    names = [score.label for score in evaluation.classes]
    output.print_table(
        ("class", "precision", "recall", "F1", "ROC AUC", "PR AUC", "images", *(f"as {name}" for name in names)),
        (
            (*_fractions(s.precision, s.recall, s.f1, s.roc_auc, s.average_precision, label=s.label), s.support, *row)
            for s, row in zip(evaluation.classes, evaluation.confusion, strict=True)
        ),
    )


def _print_labels(evaluation: Evaluation, scores: MultilabelMetrics) -> None:
    """Print the averages of a multi-label model, then each label with its VOC average precisions and 2 x 2 table."""
    print(f"mean average precision {_fraction(scores.mean_average_precision)} (VOC from 2010 on), ", end="")
    print(f"{_fraction(scores.mean_eleven_point)} (VOC2007, 11 points); Hamming loss {scores.hamming_loss:.4f}")
    for name, mean in (("micro", scores.micro), ("macro", scores.macro)):
        print(f"{name} average: precision {mean.precision:.4f}, recall {mean.recall:.4f}, F1 {mean.f1:.4f}")
    print()
    rows = zip(evaluation.classes, scores.average_precision, scores.eleven_point, scores.confusions, strict=True)
    output.print_table(
        ("label", "precision", "recall", "F1", "ROC AUC", "AP", "AP 11", "images", "true pos.", "missed", "false pos."),
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
    return "unknown" if value is None else f"{value:.4f}"


def _fractions(*values: float | None, label: str) -> tuple[str, ...]:
    return label, *("" if value is None else f"{value:.4f}" for value in values)
