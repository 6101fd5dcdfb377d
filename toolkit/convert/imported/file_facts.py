"""What the files of a model declare about its labels and preprocessing, in the conventions of common exporters.

source                     keys
ONNX metadata_props        names (Ultralytics), labels, Image.NominalPixelRange, Image.BitmapPixelFormat
OpenVINO rt_info           model_info: labels, mean_values, scale_values, reverse_input_channels, embedded_processing
TensorFlow Lite metadata   NormalizationOptions (formats/tflite_metadata.py)
preprocessor_config.json   image_mean, image_std, rescale_factor, size, crop_size; labels from id2label of config.json
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.errors import DataError

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PixelScaling:
    """(pixel from 0 to 255 - mean) / std, in the order of the model's own channels."""

    mean: Three = (0.0, 0.0, 0.0)
    std: Three = (1.0, 1.0, 1.0)
    color: str = "RGB"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What the files of a model say; None where they say nothing."""

    labels: tuple[str, ...] | None = None
    scaling: PixelScaling | None = None
    color: str | None = None
    size: tuple[int, int] | None = None
    crop: str | None = None
    source: str = ""
    """Where the scaling or the color was found."""


_RANGES = {
    "NominalRange_0_255": PixelScaling(),
    "Normalized_0_1": PixelScaling(std=(255.0, 255.0, 255.0)),
    "Normalized_1_1": PixelScaling((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}


def facts_of_metadata(properties: Mapping[str, str]) -> FileFacts:
    """Facts from key-value metadata, as ONNX files and OpenVINO's Model API keep it."""
    text = {key.removeprefix("model_info").strip(" /."): str(value) for key, value in properties.items()}
    listed = text.get("names") or text.get("labels") or text.get("classes") or ""
    scaling = _RANGES.get(text.get("Image.NominalPixelRange", ""))
    if scaling is None and text.get("embedded_processing", "").lower() in {"true", "yes", "1"}:
        scaling = PixelScaling()
    elif scaling is None and {"mean_values", "scale_values"} & text.keys():
        scaling = PixelScaling(_numbers(text.get("mean_values"), 0.0), _numbers(text.get("scale_values"), 1.0))
    pixels = text.get("Image.BitmapPixelFormat", "")
    color = "BGR" if pixels.lower().startswith("bgr") else "RGB" if pixels.lower().startswith("rgb") else None
    return FileFacts(labels=_labels(listed), scaling=scaling, color=color, source="the file's metadata")


def facts_of_files(path: Path) -> FileFacts:
    """Facts from preprocessor_config.json and config.json beside the model.

    Raises:
        DataError: one of them is damaged.
    """
    folder = path if path.is_dir() else path.parent
    settings, model = _json(folder / "preprocessor_config.json"), _json(folder / "config.json")
    names = model.get("id2label") or {}
    labels = tuple(str(names[key]) for key in sorted(names, key=int)) if names else None
    if not settings:
        return FileFacts(labels=labels)
    factor = float(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0
    normalized = settings.get("do_normalize", True) and "image_mean" in settings
    mean, std = (settings["image_mean"], settings["image_std"]) if normalized else ([0.0] * 3, [1.0] * 3)
    cropped = bool(settings.get("do_center_crop"))
    return FileFacts(
        labels=labels,
        scaling=PixelScaling(_three([each / factor for each in mean]), _three([each / factor for each in std])),
        size=_size(settings.get("crop_size") if cropped else settings.get("size")),
        crop="center" if cropped else None,
        source="preprocessor_config.json",
    )


def merged(first: FileFacts, second: FileFacts) -> FileFacts:
    """Both, the first taking precedence."""
    values = {name: getattr(second, name) for name in FileFacts.__slots__ if getattr(first, name) in {None, ""}}
    return replace(first, **values)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"is not valid JSON: {error}", where=str(path), remedy="repair it or move it away") from None
    return content if isinstance(content, dict) else {}


def _labels(text: str) -> tuple[str, ...] | None:
    """Labels from a JSON or Python list or dict, or from words divided by spaces, commas or line ends."""
    if not text.strip():
        return None
    try:
        value = ast.literal_eval(text)
        if isinstance(value, dict):
            return tuple(str(value[key]) for key in sorted(value, key=int))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        result = re.split(r"[\n,]\s*" if re.search(r"[\n,]", text) else r"\s+", text.strip())
        return tuple(word.strip() for word in result if word.strip())
    return tuple(map(str, value)) if isinstance(value, list | tuple) else None


def _numbers(text: str | None, usual: float) -> Three:
    result = [float(each) for each in re.findall(r"-?\d+(?:\.\d+)?(?:[eE]-?\d+)?", text or "", re.ASCII)]
    return _three(result or [usual])


def _three(values: list[float]) -> Three:
    first, second, third = values if len(values) == 3 else [values[0]] * 3
    return float(first), float(second), float(third)


def _size(described: Any) -> tuple[int, int] | None:
    if isinstance(described, int):
        return described, described
    if not isinstance(described, dict):
        return None
    if "height" in described:
        return int(described["height"]), int(described["width"])
    edge = described.get("shortest_edge")
    return None if edge is None else (int(edge), int(edge))
