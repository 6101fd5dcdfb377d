"""`toolkit inspect`: the layers and the size of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table, to_json

if TYPE_CHECKING:
    from toolkit.convert.inspection import Inspection
    from toolkit.networks.inspection import KerasInspection


def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help=".keras file, .xml file of an IR, or name, digest or folder of a bundle or model."
        ),
    ],
    every: Annotated[bool, typer.Option("--all", help="Every layer, not only those with multiply-adds.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show the layers and size of a model.

    Counts parameters and multiply-adds per layer, and what depthwise separation saves; for an IR also opsets and
    weight types.
    """
    if model.endswith(".keras"):
        from toolkit.networks.inspection import inspect_file

        layers = inspect_file(Path(model))
        print_json(_with_shares(layers)) if as_json else _print_layers(layers, model, every=every)
        return
    from toolkit import progress
    from toolkit.convert import inspect_ir
    from toolkit.convert.resolve import resolve_ir
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    place = Workspace(workspace)
    with Store(place.database) as store:
        path = resolve_ir(model, place, store, progress.create_progress(quiet=as_json))
    operations = inspect_ir(path)
    print_json(operations) if as_json else _print_operations(operations, str(path), every=every)


def _print_layers(model: KerasInspection, title: str, *, every: bool) -> None:
    rows = [
        (layer.name, layer.kind, _sizes(layer.shape[1:]), f"{layer.parameters:,}", f"{layer.multiply_adds:,}")
        for layer in model.layers
        if every or layer.multiply_adds
    ]
    rows.append(("total", "", "", f"{model.parameters:,}", f"{model.multiply_adds:,}"))
    print_table(("layer", "type", "output", "parameters", "multiply-adds"), rows, title=title)
    if not model.separations:
        return
    print_table(
        ("depthwise", "with", "kernel", "filters", "multiply-adds", "standard convolution", "share", "1/N + 1/k²"),
        (
            (
                pair.depthwise,
                pair.pointwise,
                _sizes(pair.kernel),
                pair.filters,
                f"{pair.multiply_adds:,}",
                f"{pair.plain_multiply_adds:,}",
                f"{pair.share:.4f}",
                f"{pair.formula:.4f}",
            )
            for pair in model.separations
        ),
        title="savings of depthwise separation",
    )
    print_table(("", ""), [("standard convolutions would need", _times(model.depthwise_saving))])


def _print_operations(model: Inspection, title: str, *, every: bool) -> None:
    rows = [
        (o.name, o.kind, o.opset, _sizes(o.shape), f"{o.parameters:,}", f"{o.multiply_adds:,}")
        for o in model.operations
        if every or o.multiply_adds
    ]
    rows.append(("total", "", "", "", f"{model.parameters:,}", f"{model.multiply_adds:,}"))
    print_table(("operation", "type", "opset", "output", "parameters", "multiply-adds"), rows, title=title)
    facts = [("operations per opset", _pairs(model.opsets)), ("weights stored as", _pairs(model.weight_types))]
    if model.depthwise_saving is not None:
        facts.append(("standard convolutions would need", _times(model.depthwise_saving)))
    print_table(("", ""), facts)


def _with_shares(model: KerasInspection) -> object:
    """Return the layers for JSON, with each pair's share of a standard convolution, counted and by the formula."""
    document = to_json(model)
    for pair, fields in zip(model.separations, document["separations"], strict=True):
        fields |= {"share": pair.share, "formula": pair.formula}
    return document


def _sizes(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if size is None else str(size) for size in shape)


def _times(saving: float | None) -> str:
    return f"{saving or 1:.1f} times the multiply-adds"


def _pairs(counts: object) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in dict(counts).items())  # type: ignore[call-overload]  # a mapping
