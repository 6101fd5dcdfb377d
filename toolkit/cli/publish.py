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
        help="File with NAME:PASSWORD, for a registry that requires a login. Default: the login of `docker login`.",
    ),
]
PlainHttpOption = Annotated[
    bool, typer.Option("--plain-http", help="HTTP without TLS; always on for loopback addresses.")
]
SIGNING = "Signing"
ExpiresOption = Annotated[
    float,
    typer.Option(
        "--expires-days",
        min=0.001,
        metavar="DAYS",
        help="Days that devices accept the signed release; default 90.",
        rich_help_panel=SIGNING,
    ),
]
SignOption = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="KEY",
        help="SSH key to sign the release with; repeat it if the channel requires several signers.",
        rich_help_panel=SIGNING,
    ),
]
SignersOption = Annotated[
    str | None,
    typer.Option(
        "--signers",
        metavar="NAME,…",
        help="Who may sign the channel's next release, by the names in allowed_signers. Default: as before, at first all.",
        rich_help_panel=SIGNING,
    ),
]
ThresholdOption = Annotated[
    int | None,
    typer.Option(
        "--threshold",
        min=1,
        max=16,
        metavar="N",
        help="How many of them must sign it. Default: as before, at first 1.",
        rich_help_panel=SIGNING,
    ),
]
DowngradeOption = Annotated[
    bool,
    typer.Option(
        "--allow-downgrade",
        help="Sign a permit to go back to this older release; devices log it.",
        rich_help_panel=SIGNING,
    ),
]


def parse_signers(text: str | None) -> tuple[str, ...] | None:
    """Return the names of --signers; None without it."""
    return None if text is None else tuple(name for name in (part.strip() for part in text.split(",")) if name)


def publish(
    bundle: BundleArgument,
    channel: Annotated[str, typer.Argument(metavar="HOST[:PORT]/NAME:CHANNEL", help="Channel that devices pull from.")],
    sign: SignOption = None,
    signers: SignersOption = None,
    threshold: ThresholdOption = None,
    credentials: CredentialsOption = None,
    plain_http: PlainHttpOption = False,
    expires_days: ExpiresOption = 90,
    allow_downgrade: DowngradeOption = False,
    shadow: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Refused: devices that pull compare no release on live frames; see `toolkit deploy`."
        ),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Publish a bundle to an OCI registry.

    Sends only what the registry lacks; devices that pull from the channel fetch only what they lack.
    """
    from toolkit.errors import UsageError

    if shadow is not None:
        raise UsageError(
            "devices that pull do not compare a release with the serving one on live frames",
            where="--shadow",
            remedy=f"compare it over SSH on one device first: toolkit deploy {bundle} --limit DEVICE --shadow {shadow}",
        )
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
    keys = tuple(sign or ())
    statement = StatementOptions(
        expires_days=expires_days,
        allow_downgrade=allow_downgrade,
        signers=parse_signers(signers),
        threshold=threshold,
        cosigners=keys[1:],
    )
    result = push(
        path,
        channel,
        key=keys[0] if keys else None,
        credentials=credentials,
        plain=plain_http,
        progress=progress,
        options=statement,
        bills=place.folder("sboms"),
    )
    if as_json:
        print_json(result)
        return
    signed = "signed" if result.signed else "not signed"
    detail = (
        f"{format_bytes(result.sent_bytes)} sent, {signed}" if result.changed else "already published, nothing to do"
    )
    print(f"{result.channel}: release {result.release[:12]} of bundle {result.bundle[:12]}; {detail}")
