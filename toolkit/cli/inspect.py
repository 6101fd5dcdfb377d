"""`toolkit inspect`: what a model is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import plain, print_json, print_table

if TYPE_CHECKING:
    from toolkit.convert.inspection import Inspection
    from toolkit.networks.inspection import KerasInspection


def inspect(
    model: Annotated[
        str,
        typer.Argument(help="A .keras file, an IR's .xml file, or a bundle or trained model (name, digest or folder)."),
    ],
    every: Annotated[bool, typer.Option("--all", help="List every layer, not only those with multiply-adds.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Count parameters and multiply-adds per layer and what depthwise layers save; of an IR, opsets and weight types."""
    if model.endswith(".keras"):
        from toolkit.networks.inspection import inspect_file

        layers = inspect_file(Path(model))
        print_json(_with_shares(layers)) if as_json else _print_layers(layers, model, every=every)
        return
    from toolkit import progress
    from toolkit.convert import inspect_ir
    from toolkit.convert.resolve import find_ir
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    room = Workspace(workspace)
    with Store(room.database) as store:
        path = find_ir(model, room, store, progress.create_progress(quiet=as_json))
    operations = inspect_ir(path)
    print_json(operations) if as_json else _print_operations(operations, str(path), every=every)


def _print_layers(found: KerasInspection, title: str, *, every: bool) -> None:
    rows = [
        (layer.name, layer.kind, _sizes(layer.shape[1:]), f"{layer.parameters:,}", f"{layer.multiply_adds:,}")
        for layer in found.layers
        if every or layer.multiply_adds
    ]
    rows.append(("in all", "", "", f"{found.parameters:,}", f"{found.multiply_adds:,}"))
    print_table(("layer", "type", "output", "parameters", "multiply-adds"), rows, title=title)
    if not found.separations:
        return
    print_table(
        ("depthwise", "with", "kernel", "filters", "multiply-adds", "plain convolution", "share", "1/N + 1/k²"),
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
            for pair in found.separations
        ),
        title="what depthwise separation saves",
    )
    print_table(("", ""), [("plain convolutions would need", _times(found.depthwise_saving))])


def _print_operations(found: Inspection, title: str, *, every: bool) -> None:
    rows = [
        (o.name, o.kind, o.opset, _sizes(o.shape), f"{o.parameters:,}", f"{o.multiply_adds:,}")
        for o in found.operations
        if every or o.multiply_adds
    ]
    rows.append(("in all", "", "", "", f"{found.parameters:,}", f"{found.multiply_adds:,}"))
    print_table(("operation", "type", "opset", "output", "parameters", "multiply-adds"), rows, title=title)
    facts = [("operations per opset", _pairs(found.opsets)), ("weights stored as", _pairs(found.weight_types))]
    if found.depthwise_saving is not None:
        facts.append(("plain convolutions would need", _times(found.depthwise_saving)))
    print_table(("", ""), facts)


def _with_shares(found: KerasInspection) -> object:
    """With what is left of each plain convolution, counted and by the formula."""
    whole = plain(found)
    for pair, written in zip(found.separations, whole["separations"], strict=True):
        written |= {"share": pair.share, "formula": pair.formula}
    return whole


def _sizes(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if size is None else str(size) for size in shape)


def _times(saving: float | None) -> str:
    return f"{saving or 1:.1f} times the multiply-adds"


def _pairs(counts: object) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in dict(counts).items())  # type: ignore[call-overload]  # a mapping
