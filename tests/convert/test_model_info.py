"""Converted models in OpenVINO's Model API, which reads their labels and preprocessing from `model_info`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_api.models import ClassificationModel
from model_api.models.classification import sigmoid_numpy

from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.model import TrainedModel
from toolkit.convert import convert_model
from toolkit.convert.bundling import create_bundle
from toolkit.convert.model_info import model_info
from toolkit.progress import Silent

LABELS = ("dark", "light")


def classify(ir: Path, images: np.ndarray[Any, np.dtype[np.uint8]]) -> list[list[tuple[str, float]]]:
    """Return (label, score) of the likeliest classes of NHWC RGB images, by the Model API."""
    model = ClassificationModel.create_model(str(ir), device="CPU")
    return [[(label.name, label.confidence) for label in model(image[..., ::-1].copy()).top_labels] for image in images]


def create(trained: Any, model: TrainedModel, target: str, precision: str) -> tuple[IrModel, Bundle]:
    parts = (trained.workspace, trained.store, Silent())
    ir = convert_model(model, precision, target, *parts)
    return ir, create_bundle(ir, model, trained.split, *parts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "precision"), [("cpu", "fp32"), ("cpu", "fp16"), ("cpu", "int8"), ("cpu-2022", "fp32"), ("ncs2", "fp16")]
)
@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_model_api_classifies_the_golden_images_alike(
    shared_trained: Any, head: str, target: str, precision: str
) -> None:
    _, bundle = create(shared_trained, getattr(shared_trained, head), target, precision)
    folder = shared_trained.workspace.absolute(bundle.path)
    golden = np.load(folder / "golden" / "inputs.npy"), np.load(folder / "golden" / "outputs.npy")
    for scores, expected in zip(classify(folder / "model.xml", golden[0]), golden[1], strict=True):
        assert dict(scores) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=2e-2)


def test_model_info_tells_labels_and_how_many_are_decided(shared_trained: Any) -> None:
    model = dataclasses.replace(shared_trained.softmax, labels=("great  spotted woodpecker", "owl"), crop="center")
    assert model_info(model) == {
        "labels": "great_spotted_woodpecker owl",
        "model_type": "Classification",
        "resize_type": "crop",
        "reverse_input_channels": "True",
        "topk": "2",
    }
    multi_label = model_info(dataclasses.replace(model, head="multi-sigmoid"))
    assert multi_label["multilabel"] == "True"
    assert float(multi_label["confidence_threshold"]) == pytest.approx(sigmoid_numpy(np.float64(0.5)), abs=1e-6)
