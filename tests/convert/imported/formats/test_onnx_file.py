from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from toolkit.convert.imported.formats.onnx_file import OnnxFile
from toolkit.errors import DataError

IMAGE = np.random.default_rng(1).random((1, 3, 8, 8), np.float32)


def write(
    path: Path,
    *more: Any,
    outputs: list[Any] | None = None,
    batch: int | str = "N",
    weight: float = 4.0,
    opset: int = 17,
) -> Path:
    """A classifier by mean color; `more` nodes follow its probabilities."""
    matrix = numpy_helper.from_array(np.eye(3, dtype=np.float32) * weight, "matrix")
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
        *more,
    ]
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 8, 8])
    actual = outputs or [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, 3])]
    graph = helper.make_graph(nodes, "colors", [taken], actual, [matrix])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 2)]
    version = 8 if opset <= 18 else 10
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=version), path)
    return path


def by_openvino(file: OnnxFile) -> np.ndarray:
    import openvino as ov

    graph = file.graph()
    graph.reshape({graph.input(0): [1, 3, 8, 8]})
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled([IMAGE])[compiled.output(0)])


def external(folder: Path, weight: float) -> Path:
    folder.mkdir()
    model = onnx.load(str(write(folder / "net.onnx", weight=weight)))
    (folder / "weights").mkdir()
    onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="weights/net.data", size_threshold=0)
    return folder / "net.onnx"


def test_digest_covers_the_files_with_weights(tmp_path: Path) -> None:
    first, second = (OnnxFile(external(tmp_path / str(weight), weight)) for weight in (2.0, 3.0))
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.side_files() == ("weights/net.data",)
    assert first.digest() != second.digest()
    np.testing.assert_allclose(by_openvino(first), first.runtime()(IMAGE), atol=1e-6)


def test_side_files_names_the_file_that_is_missing(tmp_path: Path) -> None:
    path = external(tmp_path / "net", 2.0)
    (tmp_path / "net/weights/net.data").unlink()
    with pytest.raises(DataError, match=r"keeps its weights in weights/net\.data, which is missing"):
        OnnxFile(path).digest()


def test_side_files_refuses_what_leads_out_of_the_folder(tmp_path: Path) -> None:
    path = external(tmp_path / "net", 2.0)
    data = tmp_path / "net/weights/net.data"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a link"):
        OnnxFile(path).digest()
    model = onnx.load(str(path), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../elsewhere"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match="outside its folder"):
        OnnxFile(path).digest()


def test_graph_looks_through_a_zipmap(tmp_path: Path) -> None:
    text = onnx.TypeProto()
    text.tensor_type.elem_type = TensorProto.STRING
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    labels = ["red", "green", "blue"]
    path = write(
        tmp_path / "vision.onnx",
        helper.make_node("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder", ["best"], ["label"], domain="ai.onnx.ml", keys_int64s=[0, 1, 2], values_strings=labels
        ),
        helper.make_node("ZipMap", ["probabilities"], ["loss"], domain="ai.onnx.ml", classlabels_strings=labels),
        outputs=[helper.make_value_info("label", text), helper.make_value_info("loss", maps)],
    )
    file = OnnxFile(path)
    assert file.facts().labels == ("red", "green", "blue")
    np.testing.assert_allclose(by_openvino(file), file.runtime()(IMAGE), atol=1e-6)


def test_graph_takes_the_scores_beside_a_label(tmp_path: Path) -> None:
    best = helper.make_node("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=0)
    outputs = [
        helper.make_tensor_value_info("best", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3]),
    ]
    file = OnnxFile(write(tmp_path / "two.onnx", best, outputs=outputs))
    assert len(file.graph().outputs) == 1
    np.testing.assert_allclose(by_openvino(file), file.runtime()(IMAGE), atol=1e-6)


def test_runtime_answers_one_image_when_the_batch_is_fixed(tmp_path: Path) -> None:
    file = OnnxFile(write(tmp_path / "four.onnx", batch=4))
    assert file.runtime()(IMAGE).shape == (1, 3)
    np.testing.assert_allclose(by_openvino(file), file.runtime()(IMAGE), atol=1e-6)


def test_graph_says_that_a_damaged_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(write(tmp_path / "whole.onnx").read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        OnnxFile(tmp_path / "net.onnx").graph()


@pytest.mark.parametrize("opset", range(9, 25))
def test_graph_answers_as_onnx_runtime_does_in_every_opset(tmp_path: Path, opset: int) -> None:
    file = OnnxFile(write(tmp_path / "net.onnx", batch=1, opset=opset))
    assert by_openvino(file) == pytest.approx(file.runtime()(IMAGE), abs=1e-6)
