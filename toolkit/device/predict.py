"""Classify image files, most probable label first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from .layout import model_file
from .rejection import is_unknown
from .release.manifest import input_size, is_multi_label, read_manifest
from .release.verify import require_trusted
from .runtime import interface

if TYPE_CHECKING:
    from .runtime.interface import Answer


def predict(
    release: Path, paths: Sequence[Path], accelerator: str = "CPU", precision: Optional[str] = None
) -> Dict[str, Any]:
    """Return {"ok", "predictions": [{"image", "ranking": [{"label", "probability"}]} or {"image", "error"}]}.

    For multi-label models, "labels" holds the labels above 1/2, most probable first. If the bundle has a rule for it,
    "unknown" says whether the best guess is too unsure to be an answer.

    An image that cannot be read makes "ok" false; the others are classified all the same.

    Raises:
        DeviceError: the bundle cannot be read, or the device requires a signature and it has no trusted one.
        DeviceEnvironmentError: the model cannot be loaded.
    """
    require_trusted(release)
    manifest = read_manifest(release)
    model = interface.load(model_file(release), interface.Settings(accelerator, precision=precision))
    predictions = [_predict(model, manifest, path) for path in paths]
    return {"ok": not any("error" in entry for entry in predictions), "predictions": predictions}


def _predict(model: interface.Model, manifest: Dict[str, Any], path: Path) -> Dict[str, Any]:
    from . import image_io

    try:
        image = image_io.resize(image_io.read_image(path), input_size(manifest), manifest["input"]["crop"])
    except ValueError as error:
        return {"image": str(path), "error": str(error)}
    answer = model.infer(image)
    ranking, unknown = rank_labels(answer, manifest["labels"]), is_unknown(answer, manifest)
    if not is_multi_label(manifest):
        return {"image": str(path), "ranking": ranking, **({} if unknown is None else {"unknown": unknown})}
    labels = [guess["label"] for guess in ranking if guess["probability"] > 1 / 2]
    return {"image": str(path), "ranking": ranking, "labels": labels}


def rank_labels(answer: Answer, labels: Sequence[str]) -> List[Dict[str, Any]]:
    """Return the labels of f32 [classes] with probabilities, descending; a single value is for the second of two."""
    values = [float(value) for value in answer]
    if len(values) == 1:
        values = [1 - values[0], values[0]]
    order = sorted(range(len(values)), key=lambda index: -values[index])
    return [{"label": labels[index], "probability": values[index]} for index in order]
