"""Tables of model size: parameters, multiply-adds, and savings by depthwise separation.

Counted by `toolkit.networks.inspection` from the trained model's own file, once; the counts are kept in the workspace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from toolkit import files
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import ToolkitError
from toolkit.networks.inspection import KerasInspection, inspect_file
from toolkit.report import formatting
from toolkit.report.data.load import ReportData
from toolkit.report.tables.results_tables import Cell, Table, table
from toolkit.workspace import Workspace

_COUNTS = TypeAdapter(KerasInspection)


@dataclass(frozen=True, slots=True)
class Counted:
    """The size of one network, from one of its trained models."""

    model: TrainedModel
    counts: KerasInspection


def counted(report: ReportData, workspace: Workspace) -> tuple[Counted, ...]:
    """Return one model per network; requires its file and TensorFlow."""
    one_each = {model.network: model for model in report.models}.values()
    counted = ((model, _counts(model, workspace)) for model in one_each)
    return tuple(Counted(model, counts) for model, counts in counted if counts)


def _counts(model: TrainedModel, workspace: Workspace) -> KerasInspection | None:
    cached, file = workspace.root / "cache" / "layers" / f"{model.digest}.json", workspace.absolute(model.path)
    try:
        return _COUNTS.validate_json(cached.read_bytes())
    except (OSError, ValidationError):
        return _count(file, cached) if file.is_file() else None


def _count(file: Path, cached: Path) -> KerasInspection | None:
    try:
        counts = inspect_file(file)
    except (ImportError, ToolkitError):
        return None
    with files.atomic_write(cached) as stream:
        stream.write(_COUNTS.dump_json(counts))
    return counts


def sizes(counted: Sequence[Counted]) -> Table:
    """Each network in a row."""
    columns = ("Network", "Input", "#Layers", "#Parameters", "#Multiply-adds", "#With plain convolutions instead")
    return table("Parameters and multiply-adds of one image", columns, map(_size_row, counted), "layers.csv")


def _size_row(own: Counted) -> Iterator[Cell | str]:
    model, counts = own.model, own.counts
    yield Cell(formatting.network(model.network), f"#model-{model.digest[:12]}")
    yield f"{model.input_size[0]} x {model.input_size[1]}"
    yield f"{len(counts.layers):,}"
    yield f"{counts.parameters:,}"
    yield f"{counts.multiply_adds:,}"
    saving = counts.depthwise_saving
    yield Cell("has no depthwise layers", style="quiet") if saving is None else f"{saving:.2f} times as many"


def separations(counted: Sequence[Counted]) -> Table:
    """Every depthwise convolution and the 1 x 1 after it, against the plain convolution that they stand for."""
    columns = ("Network", "Depthwise", "Pointwise", "Kernel", "#Filters", "#Multiply-adds", "#Plain convolution")
    rows = (
        (
            formatting.network(own.model.network),
            pair.depthwise,
            pair.pointwise,
            f"{pair.kernel[0]} x {pair.kernel[1]}",
            f"{pair.filters:,}",
            f"{pair.multiply_adds:,}",
            f"{pair.plain_multiply_adds:,}",
            f"{pair.share:.4f}",
            f"{pair.formula:.4f}",
        )
        for own in counted
        for pair in own.counts.separations
    )
    return table("Savings by depthwise separation, layer by layer", (*columns, "#Share", "#1/N + 1/k²"), rows)


def frame(counted: Sequence[Counted]) -> Iterator[dict[str, object]]:
    """Every layer with parameters or multiply-adds, for the CSV."""
    for own in counted:
        for layer in own.counts.layers:
            if layer.parameters or layer.multiply_adds:
                yield {
                    "network": own.model.network,
                    "layer": layer.name,
                    "kind": layer.kind,
                    "output": " x ".join(map(str, layer.shape[1:])),
                    "parameters": layer.parameters,
                    "multiply_adds": layer.multiply_adds,
                }
