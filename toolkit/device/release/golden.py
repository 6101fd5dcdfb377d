"""Does this device give the answers that were recorded when the bundle was made?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional

from ..errors import DeviceError
from ..runtime import interface
from .manifest import is_multi_label, read_manifest
from .verify import require_trusted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float32]


def check_golden(release: Path, accelerator: str = "CPU", precision: Optional[str] = None) -> Dict[str, Any]:
    """Answer the golden images here and compare.

    A CPU is made to compute in f32 unless message otherwise: processors with BF16 would take that by themselves.

    Returns:
        {"ok", "max_abs", "tolerance", "top1_agreement", "count", "accelerator", "precision", "versions"}; `max_abs` is
        the largest difference of a probability; `top1_agreement` is the share of decisions that are the same, of many
        labels to an image one for each label.

    Raises:
        DeviceError: the golden files cannot be read, the bundle states no tolerance for this accelerator, or this device asks
            for a signature and the release has none that it trusts.
        DeviceEnvironmentError: the model cannot be loaded.
    """
    import numpy as np

    require_trusted(release)
    manifest = read_manifest(release)
    golden, decide = manifest["golden"], labels_above_half if is_multi_label(manifest) else top1_labels
    inputs, expected = _load_array(release, golden["inputs"]), _load_array(release, golden["outputs"])
    settings = interface.Settings(accelerator, precision=precision or native_precision(accelerator))
    if accelerator != "AUTO":
        _tolerance(golden["tolerance"], settings.kind)
    model = interface.load(release / "model.xml", settings)
    tolerance = _tolerance(golden["tolerance"], model.settings.kind)
    answers = np.stack([model.infer(image) for image in inputs])
    if not np.isfinite(answers).all():
        raise DeviceError("the model answers something that is no number", where=str(release / "model.xml"))
    max_abs = float(np.abs(answers - expected.reshape(answers.shape)).max())
    return {
        "ok": bool(max_abs <= tolerance),
        "max_abs": max_abs,
        "tolerance": tolerance,
        "top1_agreement": float(np.mean(decide(answers) == decide(expected.reshape(answers.shape)))),
        "count": len(inputs),
        **{key: model.used()[key] for key in ("accelerator", "device_name", "precision", "notes")},
        "openvino": model.version,
    }


def native_precision(accelerator: str) -> Optional[str]:
    """f32 on a CPU; a stick has one precision only and takes no word about it."""
    return "f32" if accelerator in ("CPU", "AUTO") else None


def _load_array(release: Path, path: str) -> Any:
    import numpy as np

    place = release / path
    try:
        return np.load(place, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DeviceError(f"cannot be read: {error}", where=str(place), remedy="deploy the bundle again") from None


def _tolerance(stated: Dict[str, float], kind: str) -> float:
    if kind not in stated:
        raise DeviceError(
            f"the bundle states no tolerance for {kind}",
            where="manifest.json: golden.tolerance",
            remedy="make the bundle for a target that has this accelerator",
        )
    return float(stated[kind])


def top1_labels(answers: Numbers) -> Numbers:
    """f32 [n, classes] → the most probable class of each; one column is the probability of the second of two classes."""
    import numpy as np

    top: Numbers = (answers[:, 0] > 0.5).astype(np.int64) if answers.shape[1] == 1 else answers.argmax(axis=1)
    return top


def labels_above_half(answers: Numbers) -> Any:
    """f32 [n, classes] → which labels are said of each, bool [n, classes], where images may have many."""
    return answers > 0.5
