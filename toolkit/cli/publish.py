"""`toolkit publish`: push a bundle to a registry that devices pull from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, BundleArgument, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json
from toolkit.progress import format_bytes

CredentialsOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="File with NAME:PASSWORD, for a registry that requires a login.",
    ),
]
PlainHttpOption = Annotated[
    bool, typer.Option("--plain-http", help="HTTP without TLS; always on for loopback addresses.")
]
ExpiresOption = Annotated[
    float,
    typer.Option(
        "--expires-days", min=0.001, metavar="DAYS", help="Days that devices accept the signed release; default 90."
    ),
]
DowngradeOption = Annotated[
    bool,
    typer.Option("--allow-downgrade", help="Sign a permit to go back to this older release; devices log it."),
]


def publish(
    bundle: BundleArgument,
    channel: Annotated[str, typer.Argument(metavar="HOST[:PORT]/NAME:CHANNEL", help="Channel that devices pull from.")],
    sign: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="KEY", help="SSH key to sign the release with."),
    ] = None,
    credentials: CredentialsOption = None,
    plain_http: PlainHttpOption = False,
    expires_days: ExpiresOption = 90,
    allow_downgrade: DowngradeOption = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Publish a bundle to an OCI registry.

    Sends only what the registry lacks; devices that pull from the channel fetch only what they lack.
    """
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.deploy.registry.channel_statement import StatementOptions
    from toolkit.deploy.registry.publish import publish as push
    from toolkit.progress import create_progress
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    place = Workspace(workspace)
    with Store(place.database) as store:
        path = bundle_folder(bundle, place, store)
    progress = create_progress(quiet=as_json)
    statement = StatementOptions(expires_days=expires_days, allow_downgrade=allow_downgrade)
    result = push(
        path, channel, key=sign, credentials=credentials, plain=plain_http, progress=progress, options=statement
    )
    if as_json:
        print_json(result)
        return
    signed = "signed" if result.signed else "not signed"
    detail = (
        f"{format_bytes(result.sent_bytes)} sent, {signed}" if result.changed else "already published, nothing to do"
    )
    print(f"{result.channel}: release {result.release[:12]} of bundle {result.bundle[:12]}; {detail}")
