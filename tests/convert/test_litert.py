from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.artifacts.bundle import IrModel
from toolkit.artifacts.model import TrainedModel
from toolkit.bundle.verify import verify_bundle
from toolkit.convert import convert_model, parity
from toolkit.convert.bundling import create_bundle
from toolkit.convert.layer_errors import compute_layer_errors
from toolkit.convert.reference import test_images as images_of
from toolkit.convert.runtimes import tflite_interpreter
from toolkit.device.errors import DeviceEnvironmentError
from toolkit.device.runtime import interface, litert
from toolkit.errors import ConfigurationError, ConversionError, UsageError
from toolkit.progress import Silent


def convert(trained: Any, model: TrainedModel, precision: str, **options: Any) -> IrModel:
    return convert_model(model, precision, "litert", trained.workspace, trained.store, Silent(), **options)


@pytest.fixture(scope="module", params=["sigmoid", "softmax"])
def int8_path(request: pytest.FixtureRequest, shared_trained: Any) -> Path:
    ir = convert(shared_trained, getattr(shared_trained, request.param), "int8", max_drop=0.1)
    return Path(shared_trained.workspace.absolute(ir.path))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_float_form_answers_as_keras_does(shared_trained: Any, head: str) -> None:
    ir = convert(shared_trained, getattr(shared_trained, head), "fp32")
    assert ir.path.endswith("model.tflite")
    assert ir.parity.max_abs <= 1e-4
    assert convert(shared_trained, getattr(shared_trained, head), "fp32") == ir


@pytest.mark.slow
def test_int8_form_leaves_the_probabilities_in_float(int8_path: Path) -> None:
    operations = list(tflite_interpreter.operations(int8_path))
    last = max(index for index, operation in enumerate(operations) if operation.kind in tflite_interpreter.LAYERS)
    assert all(operation.in_int8 for operation in operations if operation.kind in tflite_interpreter.LAYERS)
    assert operations[last + 1].kind == "DEQUANTIZE"
    assert {operation.kind for operation in operations[last + 2 :]} & {"SOFTMAX", "LOGISTIC"}


@pytest.mark.slow
def test_int8_form_is_the_same_every_time(shared_trained: Any) -> None:
    first = convert(shared_trained, shared_trained.softmax, "int8", max_drop=0.1)
    shutil.rmtree(shared_trained.workspace.absolute(first.path).parent)
    again = convert(shared_trained, shared_trained.softmax, "int8", max_drop=0.1)
    assert again.digest == first.digest
    assert again.quantization is not None
    assert again.quantization.calibration_images == 12


@pytest.mark.slow
def test_int8_is_refused_when_the_bound_cannot_hold(shared_trained: Any) -> None:
    with pytest.raises(ConversionError, match="exceeds max_drop"):
        convert(shared_trained, shared_trained.softmax, "int8", max_drop=-0.5)


def test_fp16_is_refused_by_name(shared_trained: Any) -> None:
    with pytest.raises(ConfigurationError, match="litert does not support precision 'fp16'"):
        convert(shared_trained, shared_trained.softmax, "fp16")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_bundle_passes_its_golden_images_on_the_device_code(shared_trained: Any, precision: str) -> None:
    trained = shared_trained
    ir = convert(trained, trained.softmax, precision, **({"max_drop": 0.1} if precision == "int8" else {}))
    bundle = create_bundle(ir, trained.softmax, trained.split, trained.workspace, trained.store, Silent())
    folder = trained.workspace.absolute(bundle.path)
    assert bundle.name.endswith(f"{precision}-litert")
    assert {"model.tflite", "labels.txt"} < verify_bundle(folder)["files"].keys()
    done = subprocess.run([sys.executable, "-m", "toolkit.device", "golden", folder], capture_output=True, check=True)
    golden = json.loads(done.stdout)
    assert (golden["ok"], golden["max_abs"]) == (True, pytest.approx(0, abs=1e-3))
    assert golden["precision"] == ("i8" if precision == "int8" else "f32")
    with pytest.raises(UsageError, match=r"model\.tflite, no OpenVINO IR"):
        compute_layer_errors(folder, trained.workspace, trained.store, Silent())


def test_queue_answers_as_single_queries_do(shared_trained: Any, int8_path: Path) -> None:
    model = litert.load(int8_path, interface.Settings(hint="throughput", streams=3))
    images = images_of(shared_trained.softmax, shared_trained.split, shared_trained.workspace).pixels
    answers: dict[int, Any] = {}
    queue = model.queue(lambda number, answer: answers.update({number: answer()}))
    for number, image in enumerate(images):
        queue.submit(number, image)
    queue.wait()
    queue.close()
    expected = parity.predict(int8_path, [images])
    assert np.array_equal(np.stack([answers[number] for number in range(len(images))]), expected)
    assert (queue.requests, model.used()["streams"], model.used()["precision"]) == (3, 3, "i8")


def test_queue_raises_what_its_callback_raised(shared_trained: Any, int8_path: Path) -> None:
    model = litert.load(int8_path, interface.Settings())
    queue = model.queue(lambda number, answer: [][number])
    image = images_of(shared_trained.softmax, shared_trained.split, shared_trained.workspace).pixels[0]
    queue.submit(1, image)
    with pytest.raises(IndexError):
        queue.wait()
    queue.wait()
    queue.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (interface.Settings("MYRIAD"), "LiteRT runs on the CPU, not on MYRIAD"),
        (interface.Settings(precision="bf16"), "LiteRT computes floats in f32, not in bf16"),
    ],
)
def test_setting_that_litert_lacks_is_refused(int8_path: Path, settings: interface.Settings, message: str) -> None:
    with pytest.raises(DeviceEnvironmentError, match=message):
        interface.load(int8_path, settings)


def test_auto_is_the_processor(int8_path: Path) -> None:
    assert interface.load(int8_path, interface.Settings("AUTO")).used()["accelerator"] == "CPU"


def test_damaged_file_is_one_clear_error(tmp_path: Path, int8_path: Path) -> None:
    damaged = tmp_path / "model.tflite"
    damaged.write_bytes(int8_path.read_bytes()[:200])
    with pytest.raises(DeviceEnvironmentError, match="LiteRT cannot use it"):
        interface.load(damaged, interface.Settings())
