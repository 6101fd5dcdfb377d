"""Restore layers of an INT8 graph to float, one group after the other, until the accuracy is within a limit.

A group is all layers that read one quantized activation. Each group is first restored alone, in a copy, and the groups are
ranked by how close the answers come to those of the float graph. They are then restored in that order.

NNCF's own loop (quantize_with_accuracy_control) was tried first: on the graph of tests/convert/int8/test_quantize.py, in
which one layer causes the loss, it restored all layers, and that one last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.convert import parity
from toolkit.convert.parity import Images
from toolkit.progress import Progress

if TYPE_CHECKING:
    import openvino as ov

LAYERS = {"Convolution", "GroupConvolution", "MatMul", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}
"""Operations with weights."""

Holds = Callable[["ov.Model"], bool]


def restore_float_layers(
    quantized: ov.Model, original: ov.Model, images: Images, holds: Holds, progress: Progress
) -> tuple[ov.Model, tuple[str, ...]]:
    """A graph that `holds`, or one with every group put back; and the names of the operations that are in float again.

    `images`, u8 [n,H,W,3], rank the groups.
    """
    remaining: list[str] = []
    model = quantized
    for group in _ranked(quantized, original, images):
        remaining.append(group)
        model = _reverted(quantized, original, remaining)
        progress.log(f"  back to float: {', '.join(_readers(_find(quantized, group)))}")
        if holds(model):
            break
    return model, tuple(name for group in remaining for name in _readers(_find(quantized, group)))


def quantized_layers(model: ov.Model) -> list[str]:
    """The layers whose weights are stored in eight bits, by name, in the graph's order."""
    layers = (node for node in model.get_ordered_ops() if node.get_type_name() in LAYERS)
    return [node.get_friendly_name() for node in layers if _has_quantized_weights(node)]


def _ranked(quantized: ov.Model, original: ov.Model, images: Images) -> list[str]:
    """The names of the activations' FakeQuantize, the one to put back first in front."""
    expected = parity.predict(original, [images])

    def distance(group: str) -> float:
        result = parity.predict(_reverted(quantized, original, [group]), [images])
        return float(np.abs(result - expected).mean())

    return sorted(_groups(quantized), key=distance)


def _groups(model: ov.Model) -> Iterator[str]:
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize" and node.input_value(0).get_node().get_type_name() != "Constant":
            yield str(node.get_friendly_name())


def _reverted(quantized: ov.Model, original: ov.Model, groups: list[str]) -> ov.Model:
    """A copy of `quantized` in which those groups compute as in `original`."""
    model = quantized.clone()
    plain = {node.get_friendly_name(): node for node in original.get_ops()}
    for group in groups:
        quantizer = _find(model, group)
        for reader in list(quantizer.output(0).get_target_inputs()):
            reader.replace_source_output(quantizer.input_value(0))
            node = reader.get_node()
            if node.get_type_name() in LAYERS and node.get_friendly_name() in plain:
                _restore_weights(node, plain[node.get_friendly_name()], plain)
    model.validate_nodes_and_infer_types()
    return model


def _restore_weights(layer: Any, before: Any, plain: dict[str, Any]) -> None:
    """The layer's weights, and its bias, which quantizing moves too."""
    _restore(layer, before, 1)
    for reader in layer.output(0).get_target_inputs():
        name = reader.get_node().get_friendly_name()
        if reader.get_node().get_type_name() == "Add" and name in plain:
            _restore(reader.get_node(), plain[name], 1 - reader.get_index())


def _restore(node: Any, before: Any, port: int) -> None:
    from openvino import opset1

    source = before.input_value(port).get_node()
    if source.get_type_name() == "Constant":
        node.input(port).replace_source_output(opset1.constant(np.array(source.data)).output(0))


def _find(model: ov.Model, name: str) -> Any:
    return next(node for node in model.get_ops() if node.get_friendly_name() == name)


def _readers(quantizer: Any) -> list[str]:
    return sorted(reader.get_node().get_friendly_name() for reader in quantizer.output(0).get_target_inputs())


def _has_quantized_weights(layer: Any) -> bool:
    """Follow the weights to their constant, past what spreads and shapes them."""
    node = layer.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        if node.get_type_name() == "FakeQuantize" or not node.get_input_size():
            return bool(node.get_type_name() == "FakeQuantize")
        node = node.input_value(0).get_node()
    return node.get_element_type().get_type_name() in {"i8", "u8"}
