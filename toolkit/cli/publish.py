"""`toolkit publish`: a bundle into a registry, for devices that fetch it themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json

CredentialsOption = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="A file with NAME:PASSWORD, for a registry that asks for a login."),
]
PlainHttpOption = Annotated[bool, typer.Option("--plain-http", help="Without TLS, as always on loopback.")]


def publish(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, the first digits of its digest, or its name.")],
    channel: Annotated[str, typer.Argument(metavar="HOST[:PORT]/NAME:CHANNEL", help="What devices fetch from.")],
    sign: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Sign the release with this SSH key: devices may ask for it."),
    ] = None,
    credentials: CredentialsOption = None,
    plain_http: PlainHttpOption = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Put a bundle into an OCI registry: what the channel has of it is not sent again, and devices fetch what they lack."""
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.deploy.registry.oci_registry import Channel
    from toolkit.deploy.registry.publish import publish as put
    from toolkit.progress import create_progress
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    place, house = Channel.parse(channel), Workspace(workspace)
    with Store(house.database) as store:
        path = bundle_folder(bundle, house, store)
    progress = create_progress(quiet=as_json)
    done = put(path, place, key=sign, credentials=credentials, plain=plain_http, progress=progress)
    if as_json:
        print_json(done)
        return
    signed = "signed" if done.signed else "not signed"
    told = f"{done.sent_bytes / 1e6:,.1f} MB sent, {signed}" if done.changed else "it holds that already: nothing to do"
    print(f"{done.channel}: release {done.release[:12]} of bundle {done.bundle[:12]}; {told}")
