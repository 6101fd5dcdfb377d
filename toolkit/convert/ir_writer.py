"""Write the IR of a model for a target and a precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.compat import Target
from toolkit.convert import graphs
from toolkit.convert.lowering import fp16_range
from toolkit.convert.lowering.lower import lower
from toolkit.convert.model_info import model_info
from toolkit.convert.reference import ReferenceModel
from toolkit.progress import Progress


def write_ir(
    source: ReferenceModel,
    target: Target,
    precision: str,
    folder: Path,
    progress: Progress,
    quantize: Callable[[Any], Any] | None = None,
    check_ranges: Callable[[Any], None] | None = None,
) -> Path:
    """Write the IR of `source` into `folder` and return the .xml's path.

    The file names its model, target and precision, so two IRs of different purpose never share a digest. For FP16,
    container 11 keeps FP16 constants that a runtime turns into what it computes in; container 10 is FP16 throughout.
    For INT8, `quantize` quantizes the lowered graph. `check_ranges` may refuse the graph while it is float32.

    Raises:
        ConversionError: the target's runtime lacks an operation, or a number does not fit FP16.
    """
    import openvino as ov

    lowered = lower(ov.Core().read_model(source.graph), target)
    if lowered.replaced:
        text = ", ".join(f"{count} {kind}" for kind, count in sorted(lowered.replaced.items()))
        progress.log(f"  lowered to opset {target.opset}: {text}")
    model = lowered.model
    if quantize is not None:
        known = {node.get_friendly_name() for node in model.get_ops()}
        model = quantize(model)
        graphs.name_new_operations(model, known)
    if check_ranges is not None:
        check_ranges(model)
    if precision == "fp16":
        _check_weights(model, progress)
    whole = precision == "fp16" and target.container == 10
    if whole:
        _cast(model)
    path = folder / "model.xml"
    notes = {"model": source.model.digest, "precision": precision, "target": target.name}
    compress = precision == "fp16" and not whole
    sections = {"toolkit": notes, "model_info": model_info(source.model)}
    graphs.write(model, path, container=target.container, compress=compress, sections=sections)
    return path


def _check_weights(model: Any, progress: Progress) -> None:
    result = fp16_range.find_losses(model)
    fp16_range.refuse_losses(result)
    vanished = sum(loss.vanished for loss in result)
    if vanished:
        progress.log(f"  {vanished} weights in {len(result)} constants are below 3e-8 and become 0 in fp16")


def _cast(model: Any) -> None:
    """Every float32 in the graph becomes float16, weights and activations."""
    from openvino.passes import ConvertFP32ToFP16, Manager

    known = {node.get_friendly_name() for node in model.get_ops()}
    passes = Manager()
    passes.register_pass(ConvertFP32ToFP16())
    passes.run_passes(model)
    model.validate_nodes_and_infer_types()
    graphs.name_new_operations(model, known)
