"""`toolkit check`: all checks of a bundle that need no device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, BundleArgument, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table
from toolkit.errors import ExitCode

_SIGNS = {"passed": "✓", "failed": "✗", "skipped": "-"}


def check(
    bundle: BundleArgument,
    allowed_signers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Signers to trust (see ssh-keygen, ALLOWED SIGNERS); others fail the check."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> ExitCode:
    """Check a bundle without a device.

    Verifies digests, signature and golden answers, and runs the legacy runtimes and the compiler of its target. Exit
    code 1 if a check fails.
    """
    from toolkit import progress
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.convert import check_bundle, save_check_results
    from toolkit.convert.reference import images_for
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    place, log = Workspace(workspace), progress.create_progress(quiet=as_json)
    with Store(place.database) as store:
        folder = bundle_folder(bundle, place, store)
        images = images_for(folder, place, store)
        checks = check_bundle(folder, log, images, allowed_signers)
        if store.read_only:
            log.log(f"the results are not saved: {place.database} cannot be written")
        else:
            save_check_results(checks, folder.name, store)
    if as_json:
        print_json({"bundle": folder.name, "checks": checks})
    else:
        rows = ((_SIGNS[c.outcome], c.name, c.message + (f"\n→ {c.remedy}" if c.remedy else "")) for c in checks)
        print_table(("", "check", "result"), rows, title=folder.name[:12])
    return ExitCode.SOME_FAILED if any(c.outcome == "failed" for c in checks) else ExitCode.DONE
