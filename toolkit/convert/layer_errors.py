"""Layer-wise error of an IR: every layer's output on one image, compared with that of the float32 graph.

Layers are matched by their names, which lowering preserves. A layer's error is the largest difference of its output divided
by its largest magnitude; its added error is the part that exceeds the largest error among its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit import hashing
from toolkit.artifacts.bundle import LayerError, LayerErrorReport
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.bundle.verify import verify_bundle
from toolkit.convert import parity
from toolkit.convert.reference import ReferenceModel, test_images
from toolkit.convert.resolve import require_ir
from toolkit.errors import DataError
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import openvino as ov

    Answers = Mapping[str, npt.NDArray[np.float32]]

THRESHOLD = {"fp32": 1e-5, "fp16": 1e-2, "int8": 1e-1}
"""The error from which a layer is worth looking at: about ten roundings of its precision."""

_TOP = 5
_UNTOLD = {"Constant", "Parameter", "Result"}


def compute_layer_errors(folder: Path, workspace: Workspace, store: Store, progress: Progress) -> LayerErrorReport:
    """Compare the IR of the bundle in `folder` with the float32 graph that it was made from, and store the result.

    Raises:
        BundleError: its bytes differ from its manifest.
        DataError: the model or its test images are not in this workspace.
    """
    manifest = verify_bundle(folder)
    lineage = manifest["lineage"]
    model, split = store.get(TrainedModel, lineage["model"]), store.get(Split, lineage["split"])
    if model is None or split is None:
        raise DataError(
            f"this workspace does not have the model and images that {manifest['name']} was made from",
            where=str(workspace.root),
            remedy="name the workspace that it was made in with --workspace",
        )
    test = test_images(model, split, workspace)
    graph, xml = ReferenceModel(model, workspace, progress).graph, require_ir(folder)
    differences = np.abs(parity.predict(xml, test.chunks()) - parity.predict(graph, test.chunks())).max(axis=1)
    worst = int(differences.argmax())
    errors = compare_layers(graph, xml, test.pixels[worst])
    threshold = THRESHOLD[manifest["precision"]]
    match = LayerErrorReport(
        digest=hashing.sha256_json({"ir": lineage["ir"], "split": split.digest, "kind": "layer errors"}),
        parent=lineage["ir"],
        bundle=manifest["name"],
        image=str(test.images[worst].path),
        difference=float(differences[worst]),
        threshold=threshold,
        first=first_beyond(errors, threshold),
        largest_increases=steepest(errors),
        layers=errors,
    )
    store.put(match)
    return match


def compare_layers(reference: Path, variant: Path, image: npt.NDArray[np.uint8]) -> tuple[LayerError, ...]:
    """The error of each layer that both IRs have in the same shape, in the network's order; `image` is u8 [H,W,3]."""
    import openvino as ov

    core = ov.Core()
    whole, other = core.read_model(reference), core.read_model(variant)
    shared = _shared(whole, other)
    ours, theirs = _answers(other, shared, image), _answers(whole, shared, image)
    errors: dict[str, float] = {}
    match = []
    for node in whole.get_ordered_ops():
        name = node.get_friendly_name()
        if name not in shared:
            continue
        errors[name] = _error(theirs[name], ours[name])
        before = max((errors[source] for source in _sources(node, shared)), default=0.0)
        match.append(
            LayerError(
                name=name,
                kind=node.get_type_name(),
                error=errors[name],
                added_error=max(0.0, errors[name] - before),
                largest=float(np.abs(theirs[name]).max(initial=0.0)),
            )
        )
    return tuple(match)


def first_beyond(errors: tuple[LayerError, ...], threshold: float) -> LayerError | None:
    """The first layer whose error passes `threshold`."""
    return next((layer for layer in errors if layer.error > threshold), None)


def steepest(errors: tuple[LayerError, ...]) -> tuple[LayerError, ...]:
    """Return the five layers that add the most error, the largest first; layers that add none are left out."""
    grown = sorted((layer for layer in errors if layer.added_error > 0), key=lambda layer: -layer.added_error)
    return tuple(grown[:_TOP])


def _shared(whole: ov.Model, other: ov.Model) -> set[str]:
    """Names of layers with numbers of the same shape in both."""
    shapes = [{node.get_friendly_name(): shape for node, shape in _compared(model)} for model in (whole, other)]
    return {name for name, shape in shapes[0].items() if shapes[1].get(name) == shape}


def _compared(model: ov.Model) -> Iterator[tuple[Any, tuple[int, ...]]]:
    for node in model.get_ordered_ops():
        if node.get_type_name() not in _UNTOLD and node.get_output_element_type(0).is_real() and _depends(node):
            yield node, tuple(node.get_output_shape(0))


def _depends(node: Any) -> bool:
    """Does it read anything but constants? Weights in FP16 come through a conversion of their own."""
    return any(value.get_node().get_type_name() != "Constant" for value in node.input_values())


def _answers(model: ov.Model, names: set[str], image: npt.NDArray[np.uint8]) -> Answers:
    """Every named layer's output; they are made outputs of the model."""
    model.add_outputs([node.output(0) for node, _ in _compared(model) if node.get_friendly_name() in names])
    made_by = [result.input_value(0).get_node().get_friendly_name() for result in model.get_results()]
    request = parity.compile_model(model).create_infer_request()
    request.infer([parity.in_model_layout(image, model.input(0).get_shape())])
    match = ((name, request.get_output_tensor(index).data) for index, name in enumerate(made_by))
    return {name: data.astype(np.float32) for name, data in match if name in names}


def _error(reference: npt.NDArray[np.float32], value: npt.NDArray[np.float32]) -> float:
    difference = np.nan_to_num(np.abs(value - reference), nan=np.inf).max(initial=0.0)
    return float(difference / max(np.abs(reference).max(initial=0.0), np.finfo(np.float32).tiny))


def _sources(node: Any, shared: set[str]) -> Iterator[str]:
    """The nearest layers before `node` that are compared."""
    for value in node.input_values():
        source = value.get_node()
        if source.get_friendly_name() in shared:
            yield source.get_friendly_name()
        else:
            yield from _sources(source, shared)
