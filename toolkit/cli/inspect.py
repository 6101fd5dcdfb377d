"""`toolkit inspect`: what a model is made of."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table


def inspect(
    model: Annotated[
        str, typer.Argument(help="A bundle or trained model (name, digest or folder), or an IR's .xml file.")
    ],
    every: Annotated[
        bool, typer.Option("--all", help="List every operation, not only those with multiply-adds.")
    ] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Count parameters and multiply-adds per operation; name opsets, weight types and what depthwise layers save."""
    from toolkit import progress
    from toolkit.artifacts import Workspace
    from toolkit.convert import inspect_ir
    from toolkit.convert.finding import find_ir
    from toolkit.store import Store

    room = Workspace(workspace)
    with Store(room.database) as store:
        path = find_ir(model, room, store, progress.for_people(quiet=as_json))
    found = inspect_ir(path)
    if as_json:
        print_json(found)
        return
    listed = [operation for operation in found.operations if every or operation.multiply_adds]
    rows = [
        (o.name, o.kind, o.opset, " x ".join(map(str, o.shape)), f"{o.parameters:,}", f"{o.multiply_adds:,}")
        for o in listed
    ]
    rows.append(("in all", "", "", "", f"{found.parameters:,}", f"{found.multiply_adds:,}"))
    print_table(("operation", "type", "opset", "output", "parameters", "multiply-adds"), rows, title=str(path))
    facts = [("operations per opset", _pairs(found.opsets)), ("weights stored as", _pairs(found.weight_types))]
    if found.depthwise_saving is not None:
        facts.append(("plain convolutions would need", f"{found.depthwise_saving:.1f} times the multiply-adds"))
    print_table(("", ""), facts)


def _pairs(counts: object) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in dict(counts).items())  # type: ignore[call-overload]  # a mapping
