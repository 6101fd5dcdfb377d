"""`toolkit parity`: the layers in which a converted model deviates from the original."""

from __future__ import annotations

from toolkit.cli.options import DEFAULT_WORKSPACE, BundleArgument, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table


def parity(
    bundle: BundleArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Show where a bundle departs from FP32.

    Compares the outputs of every layer with the FP32 graph's, on the test image with the largest difference.
    """
    from toolkit import progress
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.convert import compute_layer_errors
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    place = Workspace(workspace)
    with Store(place.database) as store:
        folder = bundle_folder(bundle, place, store)
        result = compute_layer_errors(folder, place, store, progress.create_progress(quiet=as_json))
    if as_json:
        print_json(result)
        return
    first = result.first
    departs = (
        f"first above {result.threshold:.0e} at {first.name}" if first else f"no layer above {result.threshold:.0e}"
    )
    print_table(
        ("layer", "type", "added error", "error", "largest value"),
        (
            (layer.name, layer.kind, f"{layer.added_error:.1e}", f"{layer.error:.1e}", f"{layer.largest:.5g}")
            for layer in result.largest_increases
        ),
        title=f"{result.bundle}: difference {result.difference:.1e} on {result.image}; {departs}",
    )
