"""Where along the network two forms part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.artifacts.bundle import LayerErrorReport
from toolkit.cli.main import main
from toolkit.convert import convert_model, graphs, layer_errors
from toolkit.convert.bundling import create_bundle
from toolkit.convert.layer_errors import compute_layer_errors
from toolkit.convert.lowering.ops import constant, make_op
from toolkit.progress import Silent


def network(path: Path, wrong: float = 0.0) -> Path:
    """Three layers; the second multiplies by 2, or by `wrong` more."""
    import openvino as ov
    from openvino import opset1

    image = opset1.parameter([1, 6, 6, 3], np.uint8, name="image")
    x = opset1.convert(image, "f32")
    for name, layer in (
        ("scale", lambda x: make_op(1, "Multiply", [x, constant(0.01)])),
        ("double", lambda x: make_op(1, "Multiply", [x, constant(2.0 + wrong)])),
        ("ends", lambda x: make_op(1, "Tanh", [x])),
    ):
        x = layer(x)
        x.set_friendly_name(name)
    mean = make_op(1, "ReduceMean", [x, constant([1, 2], np.int64)], keep_dims=False)
    mean.set_friendly_name("mean")
    model = ov.Model([opset1.result(mean.output(0))], [image], "three")
    graphs.write(model, path, container=11, compress=False)
    return path


def test_layer_errors_name_the_layer_when_one_computes_otherwise(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    right, wrong = network(tmp_path / "a.xml"), network(tmp_path / "b.xml", wrong=0.2)
    errors = layer_errors.compare_layers(right, wrong, image)
    assert [layer.name for layer in errors] == ["scale", "double", "ends", "mean"]
    first = layer_errors.first_beyond(errors, 1e-3)
    assert first is not None
    assert (first.name, first.kind) == ("double", "Multiply")
    assert abs(first.error - 0.1) < 1e-3
    assert first.added_error == first.error
    assert layer_errors.steepest(errors)[0] == first
    assert layer_errors.steepest(layer_errors.compare_layers(right, right, image)) == ()


@pytest.mark.slow
def test_find_growth_is_kept_and_told_when_a_bundle_is_asked(trained: Any, capsys: Any) -> None:
    ir = convert_model(trained.softmax, "fp16", "ncs2", trained.workspace, trained.store, Silent())
    bundle = create_bundle(ir, trained.softmax, trained.split, trained.workspace, trained.store, Silent())
    match = compute_layer_errors(trained.workspace.absolute(bundle.path), trained.workspace, trained.store, Silent())
    assert match.first is None or match.first.error > match.threshold
    assert {layer.name for layer in match.largest_increases} <= {layer.name for layer in match.layers}
    assert match.layers[-1].name == "probabilities"
    assert len(match.layers) > 8
    assert trained.store.all(LayerErrorReport, parent=ir.digest) == (match,)
    for text in ((), ("--json",)):
        try:
            main(["parity", bundle.name, "--workspace", str(trained.workspace.root), *text])
        except SystemExit as ended:
            assert ended.code == 0  # noqa: PT017 - the command ends so
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["bundle"] == bundle.name
