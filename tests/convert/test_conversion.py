from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from toolkit.artifacts.bundle import IrModel
from toolkit.artifacts.model import TrainedModel
from toolkit.compat import find_target
from toolkit.convert import convert_model
from toolkit.convert.lowering import activation_range
from toolkit.errors import ConfigurationError, ConversionError, DataError, ParityError
from toolkit.progress import Silent
from toolkit.workspace import Workspace


def convert(trained: Any, model: TrainedModel, precision: str = "fp32", **options: Any) -> tuple[IrModel, list[str]]:
    progress = Silent()
    ir = convert_model(model, precision, "cpu", trained.workspace, trained.store, progress, **options)
    return ir, progress.messages


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 1e-2)])
def test_convert_model_answers_as_keras_does_when_converted(
    shared_trained: Any, head: str, precision: str, limit: float
) -> None:
    ir, _ = convert(shared_trained, getattr(shared_trained, head), precision)
    assert ir.parity.passed
    assert ir.parity.max_abs <= limit == ir.parity.tolerance
    assert ir.parity.images == 12
    assert ir.parity.reference_accuracy == ir.parity.accuracy
    assert shared_trained.store.get(IrModel, ir.digest) == ir


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("target", "container"), [("cpu-2022", "11"), ("ncs2", "10")])
def test_convert_model_writes_what_an_older_runtime_reads(
    shared_trained: Any, precision: str, target: str, container: str
) -> None:
    ir = convert_model(
        shared_trained.softmax, precision, target, shared_trained.workspace, shared_trained.store, Silent()
    )
    root = ET.parse(shared_trained.workspace.absolute(ir.path)).getroot()
    opsets = [int(layer.get("version", "").removeprefix("opset")) for layer in root.iter("layer")]
    names = {layer.get("name"): layer for layer in root.iter("layer")}
    assert root.get("version") == container
    assert max(opsets) <= find_target(target).opset
    assert {"image", "probabilities"} <= names.keys()
    assert names["image"].find("data").get("element_type") == "u8"  # type: ignore[union-attr]  # a Parameter has data
    types = {data.get("element_type") for data in root.iter("data")}
    assert ("f32" in types) == (precision == "fp32")
    assert ir.parity.passed


def test_convert_model_takes_a_u8_image_and_gives_probabilities(shared_trained: Any) -> None:
    import openvino as ov

    ir, _ = convert(shared_trained, shared_trained.softmax)
    model = ov.Core().read_model(shared_trained.workspace.absolute(ir.path))
    assert (model.input("image").element_type, list(model.input("image").shape)) == (ov.Type.u8, [1, 32, 32, 3])
    answer = ov.compile_model(model, "CPU")(np.full((1, 32, 32, 3), 200, np.uint8))["probabilities"]
    assert answer.shape == (1, 2)
    assert answer.sum() == pytest.approx(1, abs=1e-3)


def test_convert_model_stores_half_the_bytes_when_fp16(shared_trained: Any) -> None:
    full, _ = convert(shared_trained, shared_trained.softmax, "fp32")
    half, _ = convert(shared_trained, shared_trained.softmax, "fp16")
    weights = [shared_trained.workspace.absolute(ir.path).with_suffix(".bin").stat().st_size for ir in (full, half)]
    assert weights[1] < 0.6 * weights[0]


def test_convert_model_does_nothing_when_done_before(trained: Any) -> None:
    first, _ = convert(trained, trained.softmax)
    again, predicted = convert(trained, trained.softmax)
    assert again == first
    assert predicted == [f"convert tiny-softmax-top fp32 for cpu: already done ({first.digest[:12]})"]


@pytest.mark.slow
def test_convert_model_converts_again_when_the_file_was_changed(trained: Any) -> None:
    first, _ = convert(trained, trained.softmax)
    weights = trained.workspace.absolute(first.path).with_suffix(".bin")
    content = bytearray(weights.read_bytes())
    content[10] ^= 1
    weights.write_bytes(content)
    again, _ = convert(trained, trained.softmax)
    assert again.digest == first.digest
    assert weights.read_bytes() != bytes(content)


def test_convert_model_traces_and_asks_keras_once(trained: Any) -> None:
    _, first = convert(trained, trained.softmax, "fp32")
    _, second = convert(trained, trained.softmax, "fp16")
    assert any("tracing" in text for text in first)
    assert not any("tracing" in text or "asking Keras" in text for text in second)


def test_convert_model_names_image_and_keeps_nothing_when_parity(trained: Any) -> None:
    with pytest.raises(ParityError) as failed:
        convert(trained, trained.softmax, "fp16", tolerance=1e-9)
    message = str(failed.value)
    assert "tiny-softmax-top fp16" in message
    assert "/data/drawn/" in message
    assert trained.store.all(IrModel) == ()
    assert [path.name for path in (trained.workspace.root / "ir").iterdir()] == ["sources"]


@pytest.mark.slow
def test_convert_model_is_the_same_to_the_byte(trained: Any, pristine: Any) -> None:
    """The first process has traced other models before: numbers in names would differ."""
    here = {precision: convert(trained, trained.softmax, precision)[0].digest for precision in ("fp32", "fp16")}
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom toolkit.artifacts.dataset import *\nfrom toolkit.artifacts.model import *\nfrom toolkit.artifacts.bundle import *\nfrom toolkit.workspace import *\nfrom toolkit.convert import *\n"
        "from toolkit.progress import Silent\nfrom toolkit.store import Store\n"
        "workspace = Workspace(Path(sys.argv[1]))\nstore = Store(workspace.database)\n"
        "model = store.get(TrainedModel, sys.argv[2])\n"
        "made = {p: convert_model(model, p, 'cpu', workspace, store, Silent()).digest for p in ('fp32', 'fp16')}\n"
        "print(json.dumps(made))"
    )
    other = Workspace(trained.workspace.root.parent / "other")
    shutil.copytree(pristine.workspace.root, other.root)
    label = [sys.executable, "-c", script, str(other.root), trained.softmax.digest]
    done = subprocess.run(label, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == here
    assert done.stderr == ""


def test_convert_model_computes_in_float32_when_trained(trained: Any, make_model: Any) -> None:
    model = make_model(trained.workspace, trained.split, "softmax", "mixed_bfloat16")
    ir, _ = convert(trained, model)
    assert ir.parity.max_abs <= 1e-4


def test_convert_model_refuses_when_target_or_precision(trained: Any) -> None:
    with pytest.raises(ConfigurationError, match="cpu-2022"):
        convert_model(trained.softmax, "fp32", "gpu", trained.workspace, trained.store, Silent())
    with pytest.raises(ConfigurationError, match="fp16"):
        convert_model(trained.softmax, "int4", "cpu", trained.workspace, trained.store, Silent())


def test_convert_model_says_what_is_wrong_when_the_model_cannot(trained: Any) -> None:
    trained.workspace.absolute(trained.softmax.path).write_bytes(b"not a zip")
    broken = dataclasses.replace(trained.softmax, digest="1" * 64)
    with pytest.raises(DataError, match=r"model\.keras"):
        convert(trained, broken)
    with pytest.raises(DataError, match="has no split"):
        convert(trained, dataclasses.replace(trained.softmax, parent="2" * 64))


@pytest.mark.slow
def test_convert_model_checks_activations_when_fp16_on_a_cpu(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pi 5's CPU computes FP16 models in FP16."""
    monkeypatch.setattr(activation_range, "MARGIN", 1e9)
    with pytest.raises(ConversionError, match="FP16"):
        convert(trained, trained.softmax, "fp16")
    forced, _ = convert(trained, trained.softmax, "fp16", force="the Pis here are of the fourth generation")
    assert forced.forced == "the Pis here are of the fourth generation"
    full, _ = convert(trained, trained.softmax, "fp32")
    assert full.forced == ""
