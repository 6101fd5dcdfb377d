"""OpenVINO's `model_info`: labels, resizing and color order in an IR, for the Model API, DL Streamer and OVMS.

The scaling of pixels is inside the graph, so no `mean_values` or `scale_values` are written.
"""

from __future__ import annotations

import math

from toolkit.artifacts.model import TrainedModel

_RESIZING = {"resize": "standard", "center": "crop"}
_DECISION = 0.5
"""The probability above which an image has a label, where it may have several."""
_TOP = 5


def model_info(model: TrainedModel) -> dict[str, str]:
    """Return the entries for `model`, by name.

    The Model API splits `labels` at spaces, so spaces within a label become underscores. It takes images in BGR and puts
    a sigmoid after every network with several labels per image; the threshold is that of the probability, mapped likewise.
    """
    entries = {
        "labels": " ".join("_".join(label.split()) for label in model.labels),
        "model_type": "Classification",
        "resize_type": _RESIZING[model.crop],
        "reverse_input_channels": "True",
    }
    if model.head == "multi-sigmoid":
        return entries | {"multilabel": "True", "confidence_threshold": f"{1 / (1 + math.exp(-_DECISION)):.6f}"}
    return entries | {"topk": str(min(_TOP, len(model.labels)))}
