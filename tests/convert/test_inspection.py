from __future__ import annotations

from typing import Any

import pytest

from toolkit.convert import convert_model, inspect_ir
from toolkit.progress import Silent


def inspected(trained: Any, precision: str) -> Any:
    ir = convert_model(trained.softmax, precision, "cpu", trained.workspace, trained.store, Silent())
    return inspect_ir(trained.workspace.absolute(ir.path))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_inspect_ir_counts_by_hand_when_small(shared_trained: Any, precision: str) -> None:
    result = inspected(shared_trained, precision)
    by_kind = {operation.kind: operation for operation in result.operations}
    assert by_kind["Convolution"].multiply_adds == 16 * 16 * 8 * 3 * 3 * 3
    assert by_kind["GroupConvolution"].multiply_adds == 16 * 16 * 8 * 3 * 3
    assert (by_kind["MatMul"].multiply_adds, by_kind["MatMul"].parameters) == (16, 16)
    assert result.multiply_adds == 55296 + 18432 + 16
    assert result.depthwise_saving is None
    assert max(result.weight_types, key=result.weight_types.__getitem__) == ("f32" if precision == "fp32" else "f16")


def test_inspect_ir_names_the_depthwise_saving_when_separable(tmp_path: Any) -> None:
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    x = ops.parameter([1, 8, 10, 10], np.float32)
    deep = ops.group_convolution(x, np.ones((8, 1, 1, 3, 3), np.float32), [1, 1], [1, 1], [1, 1], [1, 1])
    point = ops.convolution(ops.relu(deep), np.ones((16, 8, 1, 1), np.float32), [1, 1], [0, 0], [0, 0], [1, 1])
    ov.save_model(ov.Model([point], [x]), tmp_path / "m.xml", compress_to_fp16=False)
    result = inspect_ir(tmp_path / "m.xml")
    assert result.multiply_adds == 100 * (8 * 9 + 8 * 16)
    assert result.depthwise_saving == pytest.approx(8 * 9 * 16 / (8 * 9 + 8 * 16))
