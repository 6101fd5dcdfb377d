from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from toolkit.artifacts.bundle import IrModel
from toolkit.bundle.verify import verify_bundle
from toolkit.convert import convert_model
from toolkit.convert.bundling import create_bundle
from toolkit.convert.int8 import quantize
from toolkit.convert.int8.quantize import CalibrationData, interleave_classes
from toolkit.errors import ConfigurationError, ConversionError, DataError, ParityError
from toolkit.experiment.load import load_experiment
from toolkit.progress import Silent
from toolkit.workspace import Workspace


@pytest.fixture(scope="module")
def converted(shared_trained: Any) -> IrModel:
    trained = shared_trained
    return convert_model(trained.softmax, "int8", "cpu", trained.workspace, trained.store, Silent())


@pytest.mark.slow
def test_convert_model_keeps_weights_in_eight_bits_when_int8(shared_trained: Any, converted: IrModel) -> None:
    root = ET.parse(shared_trained.workspace.absolute(converted.path)).getroot()
    constants = [layer.find("data") for layer in root.iter("layer") if layer.get("type") == "Const"]
    types = {data.get("element_type") for data in constants if data is not None}
    assert types & {"i8", "u8"}
    assert converted.parity.max_drop == 0.01
    assert converted.parity.accuracy >= converted.parity.reference_accuracy - 0.01
    message = converted.quantization
    assert message is not None
    assert (message.calibration_images, message.judged_on, message.reverted) == (12, "train", ())
    assert message.layers == 3
    assert "nncf" in converted.versions


def test_make_bundle_holds_int8_against_its_own_answers(shared_trained: Any, converted: IrModel) -> None:
    trained = shared_trained
    bundle = create_bundle(converted, trained.softmax, trained.split, trained.workspace, trained.store, Silent())
    folder = trained.workspace.absolute(bundle.path)
    manifest = verify_bundle(folder)
    assert manifest["quantization"]["reverted"] == []
    assert manifest["golden"]["tolerance"] == {"CPU": 5e-2}
    label = [sys.executable, "-m", "toolkit.device", "golden", str(folder)]
    result = json.loads(subprocess.run(label, capture_output=True, text=True, check=False).stdout)
    assert result["max_abs"] <= 1e-6


def test_convert_model_does_nothing_when_int8_was_done(shared_trained: Any, converted: IrModel) -> None:
    trained, progress = shared_trained, Silent()
    again = convert_model(trained.softmax, "int8", "cpu", trained.workspace, trained.store, progress)
    assert again == converted
    assert "already done" in progress.messages[0]


@pytest.mark.slow
def test_convert_model_is_the_same_to_the_byte(shared_trained: Any, converted: IrModel, pristine: Any) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom toolkit.artifacts.dataset import *\nfrom toolkit.artifacts.model import *\nfrom toolkit.artifacts.bundle import *\nfrom toolkit.workspace import *\nfrom toolkit.convert import *\n"
        "from toolkit.progress import Silent\nfrom toolkit.store import Store\n"
        "workspace = Workspace(Path(sys.argv[1]))\nstore = Store(workspace.database)\n"
        "model = store.get(TrainedModel, sys.argv[2])\n"
        "print(convert_model(model, 'int8', 'cpu', workspace, store, Silent()).digest)"
    )
    other = Workspace(shared_trained.workspace.root.parent / "other")
    shutil.copytree(pristine.workspace.root, other.root)
    label = [sys.executable, "-c", script, str(other.root), shared_trained.softmax.digest]
    done = subprocess.run(label, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (converted.digest, "")


def test_convert_model_keeps_nothing_when_the_test_images_say(trained: Any) -> None:
    """Layers are reverted by other images; the test part has the last word, here by a tolerance of nothing."""
    with pytest.raises(ParityError, match="The converted model was discarded"):
        convert_model(trained.softmax, "int8", "cpu", trained.workspace, trained.store, Silent(), tolerance=1e-9)
    assert trained.store.all(IrModel) == ()


def test_convert_model_says_why_when_int8_is_for_a_stick(trained: Any) -> None:
    with pytest.raises(ConfigurationError, match="Myriad X computes in FP16 only"):
        convert_model(trained.softmax, "int8", "ncs2", trained.workspace, trained.store, Silent())


def test_load_says_why_when_an_experiment_wants_int8_for_a_stick(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(
        'name = "x"\n[data]\nsource = "synthetic-masks"\n[matrix]\nnetworks = ["mobilenet"]\n[[stages]]\nname = "top"\n'
        '[convert]\nprecisions = ["int8"]\ntargets = ["cpu", "ncs2"]\nmax_drop = 0.02\n'
    )
    with pytest.raises(ConfigurationError, match=r"convert.*target ncs2 does not support precision 'int8'"):
        load_experiment(path)
    path.write_text(path.read_text().replace(', "ncs2"', ""))
    assert load_experiment(path).convert.max_drop == 0.02


def test_lessons_refuses_when_there_is_nothing_to_learn_from(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit import data

    remaining = tuple(image for image in data.read_manifest(trained.split, trained.workspace) if image.subset == "test")
    monkeypatch.setattr(data, "read_manifest", lambda *_: remaining)
    with pytest.raises(DataError, match="no training images"):
        quantize.load_calibration_data(trained.softmax, trained.split, trained.workspace)


@pytest.mark.slow
def test_quantize_reverts_the_layer_that_costs_accuracy() -> None:
    """Of two channels one is a million everywhere, so that 256 steps leave nothing of the other, which decides."""
    model, samples = two_channels(), dark_and_light()
    reverted, message = quantize.quantize(model, samples, 0.01, Silent())
    assert (message.reference_accuracy, message.accuracy) == (1.0, 1.0)
    assert message.reverted == ("decide",)
    assert message.layers == 1
    free, careless = quantize.quantize(model, samples, 0.9, Silent())
    assert (careless.accuracy, careless.reverted, careless.layers) == (0.5, (), 2)
    kinds = [[node.get_type_name() for node in graph.get_ops()].count("FakeQuantize") for graph in (reverted, free)]
    assert kinds[0] < kinds[1]


def test_quantize_refuses_when_no_layer_has_weights() -> None:
    from openvino import Model, opset1

    image = opset1.parameter([1, 8, 8, 3], np.uint8)
    mean = opset1.reduce_mean(opset1.convert(image, "f32"), opset1.constant([1, 2]), keep_dims=False)
    model = Model([opset1.softmax(mean, 1)], [image])
    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(ConversionError, match="no layers that INT8"):
        quantize.quantize(model, CalibrationData(pixels, pixels, np.zeros(4, np.int64), "train"), 0.01, Silent())


def test_in_turns_takes_from_every_class_when_some_are_larger() -> None:
    assert interleave_classes([0, 0, 0, 0, 1, 1, 2], 5) == [0, 1, 4, 5, 6]
    assert interleave_classes([1, 0], 9) == [0, 1]


def dark_and_light(count: int = 8) -> CalibrationData:
    random = np.random.default_rng(4)
    labels = np.arange(count) % 2
    pixels = random.integers(0, 90, (count, 8, 8, 3)) + 150 * labels[:, None, None, None]
    return CalibrationData(pixels.astype(np.uint8), pixels.astype(np.uint8), labels.astype(np.int64), "validation")


def two_channels() -> Any:
    """Layers "spread" (pixels to brightness and a million) and "decide" (brightness above 120?)."""
    from openvino import Model, opset1

    def convolution(source: Any, weights: Any, bias: Any, name: str) -> Any:
        kernel = opset1.constant(np.array(weights, np.float32)[:, :, None, None])
        made = opset1.convolution(source, kernel, [1, 1], [0, 0], [0, 0], [1, 1], name=name)
        return opset1.add(made, opset1.constant(np.array(bias, np.float32)[None, :, None, None]))

    image = opset1.parameter([1, 8, 8, 3], np.uint8)
    turned = opset1.transpose(opset1.convert(image, "f32"), opset1.constant(np.array([0, 3, 1, 2])))
    spread = opset1.relu(convolution(turned, [[1 / 3] * 3, [0] * 3], [0, 1e6], "spread"))
    decide = convolution(spread, [[-0.1, 0], [0.1, 0]], [12, -12], "decide")
    scores = opset1.reduce_mean(decide, opset1.constant(np.array([2, 3])), keep_dims=False)
    return Model([opset1.softmax(scores, 1)], [image])
