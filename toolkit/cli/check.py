"""`toolkit check`: everything that can be known about a bundle without the device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table
from toolkit.errors import ExitCode

_SIGNS = {"passed": "✓", "failed": "✗", "skipped": "-"}


def check(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, its name, or its digest's first digits.")],
    allowed_signers: Annotated[
        Path | None,
        typer.Option(help="Trust it only if one whom this file names has signed it (see ssh-keygen, ALLOWED SIGNERS)."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> ExitCode:
    """Say whether a bundle is whole, answers as it should, and fits what it is meant for. Exit code 1 if not."""
    from toolkit import progress
    from toolkit.bundle.create import images_for
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.convert import check_bundle, keep_checks
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    room = Workspace(workspace)
    with Store(room.database) as store:
        folder = bundle_folder(bundle, room, store)
        images = images_for(folder, room, store)
        checks = check_bundle(folder, progress.create_progress(quiet=as_json), images, allowed_signers)
        keep_checks(checks, folder.name, store)
    if as_json:
        print_json({"bundle": folder.name, "checks": checks})
    else:
        rows = ((_SIGNS[c.outcome], c.name, c.told + (f"\n→ {c.remedy}" if c.remedy else "")) for c in checks)
        print_table(("", "check", "found"), rows, title=folder.name[:12])
    return ExitCode.SOME_FAILED if any(c.outcome == "failed" for c in checks) else ExitCode.DONE
