"""`toolkit predict`: classify images with a Keras model or a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import options, output
from toolkit.errors import ExitCode, UsageError
from toolkit.progress import create_progress, log_error

_IMAGES_A_PROCESS = 1000


def predict(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="model.keras of a run, or folder, name or digest of a bundle."),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="Classes to print per image.")] = 5,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Classify images with a model or bundle.

    A bundle is run by the same code as on devices.
    """
    files = _files(images)
    create_progress(quiet=as_json).log(f"loading {model}")
    answer = _keras_answer(Path(model), files) if model.endswith(".keras") else _bundle_answer(model, files, workspace)
    if as_json:
        output.print_json(answer)
    else:
        _print(answer["predictions"], top)
    if not answer["ok"]:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _files(images: list[Path]) -> list[Path]:
    """The files that are named, and the images in the folders that are."""
    from toolkit.data.formats.scan import list_files

    files = []
    for path in images:
        inside = list_files(path)[0] if path.is_dir() else [path]
        if not inside:
            raise UsageError("has no images", where=str(path), remedy="name image files, or a folder of them")
        files += inside
    return files


def _keras_answer(model: Path, images: list[Path]) -> Mapping[str, Any]:
    """Return the predictions of a Keras model in the form of the device code's answer."""
    from toolkit.train import predict

    rankings = predict(model, images)
    return {"ok": not any(one.error for one in rankings), "predictions": output.to_json(rankings)}


def _bundle_answer(bundle: str, images: list[Path], workspace: Path) -> Mapping[str, Any]:
    """Return the device code's answers as one; a command line has no space for a large folder's images."""
    folder = _folder(bundle, workspace)
    parts = [
        _device_answer(folder, images[at : at + _IMAGES_A_PROCESS]) for at in range(0, len(images), _IMAGES_A_PROCESS)
    ]
    predictions = [prediction for part in parts for prediction in part["predictions"]]
    return {"ok": all(part["ok"] for part in parts), "predictions": predictions}


def _device_answer(folder: Path, images: list[Path]) -> Mapping[str, Any]:
    """Return the device code's answer; if it fails, it has printed why on stderr."""
    argv = [sys.executable, "-m", "toolkit.device", "predict", str(folder), *map(str, images)]
    process = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    try:
        answer: Mapping[str, Any] = json.loads(process.stdout)
    except ValueError:
        raise typer.Exit(process.returncode or ExitCode.SOME_FAILED) from None
    if "predictions" not in answer:
        log_error(_error_text(answer.get("error", process.stdout)))
        raise typer.Exit(process.returncode or ExitCode.SOME_FAILED)
    return answer


def _folder(bundle: str, workspace: Path) -> Path:
    """Return the folder of the bundle that the argument names; a model.xml stands for its folder."""
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    if bundle.endswith(".xml"):
        return Path(bundle).parent
    place = Workspace(workspace)
    with Store(place.database) as store:
        return bundle_folder(bundle, place, store)


def _error_text(error: Any) -> str:
    """Return an error of the device code as a sentence."""
    if not isinstance(error, Mapping):
        return str(error).strip()
    where, remedy = error.get("where"), error.get("remedy")
    return f"{f'{where}: ' if where else ''}{error.get('what', '')}{f' → {remedy}' if remedy else ''}"


def _print(predictions: list[Mapping[str, Any]], top: int) -> None:
    """Print the most probable classes, and what is predicted: labels above the threshold, or "unknown"."""
    marked = any(one.get("labels") is not None or one.get("unknown") is not None for one in predictions)
    columns = ("image", "label", "probability", *(("predicted",) if marked else ()))
    output.print_table(columns, (row[: len(columns)] for one in predictions for row in _rows(one, top)))


def _rows(one: Mapping[str, Any], top: int) -> list[tuple[str, str, str, str]]:
    if one.get("error"):
        return [(one["image"], one["error"], "", "")]
    best = one["ranking"][0]["label"]
    labels = one.get("labels") or ([best] if one.get("unknown") is False else ())
    marks = dict.fromkeys(labels, "yes") | ({best: "unknown"} if one.get("unknown") else {})
    return [
        (one["image"], guess["label"], f"{guess['probability']:.2%}", marks.get(guess["label"], ""))
        for guess in one["ranking"][:top]
    ]
