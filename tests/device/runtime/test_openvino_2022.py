"""The precision that a record states is that of the kernels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.device.runtime.interface import executed_precision
from toolkit.device.runtime.openvino_2022 import _executed


def _graph(*layers: tuple[str, str, str]) -> Any:
    """Layers by type, stated precision and kernel, as OpenVINO's executed graph tells them."""
    names = ("layerType", "runtimePrecision", "primitiveType")
    operations = [
        SimpleNamespace(get_rt_info=lambda layer=layer: dict(zip(names, layer, strict=True))) for layer in layers
    ]
    return SimpleNamespace(get_ordered_ops=lambda: operations)


@pytest.mark.parametrize(
    ("stated", "kernel", "precision"),
    [
        ("f16", "acl_f32", "f32"),
        ("f16", "gemm_acl_f16", "f16"),
        ("bf16", "brgconv_avx512_amx_bf16", "bf16"),
        ("I8", "brgconv_avx512_I8", "i8"),
        ("u8", "ref_any", "u8"),
    ],
)
def test_executed_precision_is_that_of_the_kernels(stated: str, kernel: str, precision: str) -> None:
    graph = _graph(("Convolution", stated, kernel), ("Reorder", "f32", "jit_f32"))
    assert executed_precision(_executed(graph)) == precision
