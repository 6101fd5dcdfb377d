"""Golden check: compare the outputs of this device with the reference outputs in the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional

from ..errors import DeviceError
from ..layout import MANIFEST, model_file
from ..rejection import accepts
from ..runtime import interface
from ..runtime.accelerators import AUTO, CPU, find_accelerator
from .manifest import is_multi_label, read_manifest
from .verify import require_trusted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float32]


def check_golden(release: Path, accelerator: str = "CPU", precision: Optional[str] = None) -> Dict[str, Any]:
    """Run the golden images on this device and compare the outputs with the reference outputs.

    A CPU computes in f32 unless `precision` says otherwise: processors with BF16 would use that by default.

    Returns:
        {"ok", "max_abs", "tolerance", "top1_agreement", "count", "accelerator", "precision", "versions"}; `max_abs` is
        the largest difference of a probability; `top1_agreement` is the share of equal decisions, for multi-label
        models one for each label; "unknown" is a decision too.

    Raises:
        DeviceError: the golden files cannot be read, the bundle has no tolerance for this accelerator, or the device
        requires a signature and the release has no trusted one.
        DeviceEnvironmentError: the model cannot be loaded.
    """
    import numpy as np

    require_trusted(release)
    manifest = read_manifest(release)
    golden = manifest["golden"]
    inputs, expected = _load_array(release, golden["inputs"]), _load_array(release, golden["outputs"])
    settings = interface.Settings(accelerator, precision=precision or native_precision(accelerator))
    if accelerator != "AUTO":
        _tolerance(golden["tolerance"], settings.kind)
    path = model_file(release)
    model = interface.load(path, settings)
    tolerance = _tolerance(golden["tolerance"], model.settings.kind)
    answers = np.stack([model.infer(image) for image in inputs])
    if not np.isfinite(answers).all():
        raise DeviceError("the model returned NaN or infinite values", where=str(path))
    max_abs = float(np.abs(answers - expected.reshape(answers.shape)).max())
    return {
        "ok": bool(max_abs <= tolerance),
        "max_abs": max_abs,
        "tolerance": tolerance,
        "top1_agreement": float(
            np.mean(_decisions(answers, manifest) == _decisions(expected.reshape(answers.shape), manifest))
        ),
        "count": len(inputs),
        **{key: model.used()[key] for key in ("accelerator", "device_name", "precision", "notes")},
        "runtime": f"{model.runtime} {model.version}",
    }


def _decisions(answers: Numbers, manifest: Dict[str, Any]) -> Any:
    """Return what is decided for each row of f32 [n, classes]; -1 is "unknown"."""
    import numpy as np

    if is_multi_label(manifest):
        return labels_above_half(answers)
    labels, rule = answers.argmax(axis=1), manifest.get("rejection")
    return labels if rule is None else np.where(accepts(answers, rule), labels, -1)


def native_precision(accelerator: str) -> Optional[str]:
    """Return the precision of reference runs; None for an accelerator that has only one."""
    return find_accelerator(CPU.name if accelerator == AUTO else accelerator).precision or None


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
            where=f"{MANIFEST}: golden.tolerance",
            remedy="make the bundle for a target that has this accelerator",
        )
    return float(stated[kind])


def labels_above_half(answers: Numbers) -> Any:
    """Return which labels apply to each image of a multi-label model: f32 [n, classes] → bool [n, classes]."""
    return answers > 0.5
