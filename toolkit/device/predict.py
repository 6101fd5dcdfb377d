"""What is on an image, most probable first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from .release.manifest import input_size, is_multi_label, read_manifest
from .release.verify import require_trusted
from .runtime import interface

if TYPE_CHECKING:
    from .runtime.interface import Answer


def predict(
    release: Path, paths: Sequence[Path], accelerator: str = "CPU", precision: Optional[str] = None
) -> Dict[str, Any]:
    """{"ok", "predictions": [{"image", "ranking": [{"label", "probability"}]} or {"image", "error"}]}.

    Where images may have many labels, "labels" names those that are said of it: above 1/2, the most probable first.

    An image that cannot be read makes "ok" false and hides none of the others.

    Raises:
        DeviceError: the bundle cannot be read, or this device asks for a signature and it has none that is trusted.
        DeviceEnvironmentError: the model cannot be loaded.
    """
    require_trusted(release)
    manifest = read_manifest(release)
    model = interface.load(release / "model.xml", interface.Settings(accelerator, precision=precision))
    predictions = [_predict(model, manifest, path) for path in paths]
    return {"ok": not any("error" in entry for entry in predictions), "predictions": predictions}


def _predict(model: interface.Model, manifest: Dict[str, Any], path: Path) -> Dict[str, Any]:
    from . import image_io

    try:
        image = image_io.resize(image_io.read_image(path), input_size(manifest), manifest["input"]["crop"])
    except ValueError as error:
        return {"image": str(path), "error": str(error)}
    ranking = rank_labels(model.infer(image), manifest["labels"])
    if not is_multi_label(manifest):
        return {"image": str(path), "ranking": ranking}
    said = [guess["label"] for guess in ranking if guess["probability"] > 1 / 2]
    return {"image": str(path), "ranking": ranking, "labels": said}


def rank_labels(answer: Answer, labels: Sequence[str]) -> List[Dict[str, Any]]:
    """f32 [classes] → labels with their probabilities, descending; one value is the second label's of two."""
    values = [float(value) for value in answer]
    if len(values) == 1:
        values = [1 - values[0], values[0]]
    order = sorted(range(len(values)), key=lambda index: -values[index])
    return [{"label": labels[index], "probability": values[index]} for index in order]
