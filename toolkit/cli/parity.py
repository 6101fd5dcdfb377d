"""`toolkit parity`: where along the network a converted form departs from the one it was made from."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table


def parity(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, its name, or its digest's first digits.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Compare a bundle's layers with the float32 graph's, on the test image where its answer is furthest off."""
    from toolkit import progress
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.convert import find_growth
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    room = Workspace(workspace)
    with Store(room.database) as store:
        folder = bundle_folder(bundle, room, store)
        found = find_growth(folder, room, store, progress.create_progress(quiet=as_json))
    if as_json:
        print_json(found)
        return
    first = found.first
    print_table(
        ("grows most at", "type", "by", "to", "largest value"),
        (
            (layer.name, layer.kind, f"{layer.added_error:.1e}", f"{layer.error:.1e}", f"{layer.largest:.5g}")
            for layer in found.largest_increases
        ),
        title=f"{found.bundle}: {found.difference:.1e} off on {found.image}; "
        + (
            f"first beyond {found.threshold:.0e} at {first.name}" if first else f"no layer beyond {found.threshold:.0e}"
        ),
    )
