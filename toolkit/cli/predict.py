"""`toolkit predict`: what is on images, by a Keras model or by a bundle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli import options, output
from toolkit.errors import ExitCode


def predict(
    model: Annotated[Path, typer.Argument(help="A model.keras, a bundle's folder, or the model.xml in one.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    as_json: options.JsonOption = False,
) -> None:
    """Rank the classes for each image; a bundle is asked through the code that runs on devices."""
    answer = _of_keras(model, images) if model.suffix == ".keras" else _of_bundle(model, images)
    if as_json:
        output.print_json(answer)
    else:
        multi_label = any(one.get("labels") is not None for one in answer["predictions"])
        columns = ("image", "label", "probability", *(("said",) if multi_label else ()))
        output.print_table(columns, (row[: len(columns)] for one in answer["predictions"] for row in _rows(one)))
    if not answer["ok"]:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _of_keras(model: Path, images: list[Path]) -> Mapping[str, Any]:
    """In the form of the device's answer."""
    from toolkit.train import rank

    rankings = rank(model, images)
    return {"ok": not any(one.error for one in rankings), "predictions": output.plain(rankings)}


def _of_bundle(model: Path, images: list[Path]) -> Mapping[str, Any]:
    """The device code's answer; if it fails, its own words are on stderr already."""
    folder = model.parent if model.suffix == ".xml" else model
    words = [sys.executable, "-m", "toolkit.device", "predict", str(folder), *map(str, images)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    try:
        answer: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise typer.Exit(done.returncode or ExitCode.SOME_FAILED) from None
    if "predictions" not in answer:
        print(f"error: {answer.get('error', done.stdout)}", file=sys.stderr)
        raise typer.Exit(done.returncode or ExitCode.SOME_FAILED)
    return answer


def _rows(one: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The last column, whether a label is said, is for models with many labels to an image."""
    if one.get("error"):
        return [(one["image"], one["error"], "", "")]
    said = one.get("labels") or ()
    return [
        (one["image"], guess["label"], f"{guess['probability']:.2%}", "yes" if guess["label"] in said else "")
        for guess in one["ranking"]
    ]
