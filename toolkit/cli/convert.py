"""`toolkit convert`: a trained model to IR and bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table


def convert(
    model: Annotated[
        str, typer.Argument(help="A digest's first digits, NETWORK-HEAD-STAGE, or a path in the workspace.")
    ],
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, fp16 or int8; may be given several times. Default: fp32 and fp16.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Which runtime it is for, such as cpu or ncs2. Default: cpu.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="The largest allowed difference of a probability from Keras'.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0, help="The accuracy that int8 may lose, a fraction of all pictures. Default: 0.01, a point."
        ),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Sign the bundles with this SSH key, for `check --allowed-signers`."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Turn a trained model into OpenVINO IR, prove on the test pictures that it answers alike, and bundle it."""
    from toolkit import compat, progress
    from toolkit.artifacts import Workspace
    from toolkit.convert import convert_model, find_model, make_bundle, sign_bundle
    from toolkit.convert.conversion import split_of
    from toolkit.store import Store

    wanted = [(aim, kind) for aim in target or ["cpu"] for kind in precision or ["fp32", "fp16"]]
    for aim, kind in wanted:
        compat.check_precision(compat.find_target(aim), kind)
    room = Workspace(workspace)
    talk = progress.for_people(quiet=as_json)
    with Store(room.database) as store:
        trained = find_model(model, room, store)
        split = split_of(trained, store)
        made = [
            (ir, make_bundle(ir, trained, split, room, store, talk))
            for aim, kind in wanted
            for ir in [convert_model(trained, kind, aim, room, store, talk, tolerance, max_drop)]
        ]
    if sign is not None:
        for _, bundle in made:
            sign_bundle(room.absolute(bundle.path), sign)
    if as_json:
        print_json([{"ir": ir, "bundle": bundle} for ir, bundle in made])
        return
    print_table(
        ("bundle", "name", "MB", "max difference", "same top-1", "accuracy", "Keras"),
        (
            (
                bundle.short,
                bundle.name,
                f"{bundle.size_bytes / 1e6:.1f}",
                f"{ir.parity.max_abs:.1e}",
                f"{ir.parity.top1_agreement:.2%}",
                f"{ir.parity.accuracy:.5f}",
                f"{ir.parity.reference_accuracy:.5f}",
            )
            for ir, bundle in made
        ),
        title=trained.note,
    )
