"""`toolkit publish`: push a bundle to a registry that devices pull from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, BundleArgument, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, to_json
from toolkit.cli.shadow_options import COMPARISON, ShadowEveryOption, parse_duration, parse_shadow
from toolkit.cli.staged_options import (
    BatchOption,
    GroupOption,
    MaxFailuresOption,
    MinDeployedOption,
    PauseOption,
    StrategyOption,
    WaitOption,
    WindowOption,
    parse_staged,
    print_step,
)
from toolkit.errors import ExitCode, UsageError
from toolkit.progress import format_bytes

if TYPE_CHECKING:
    from toolkit.deploy.registry.publish import PublishedRelease
    from toolkit.deploy.registry.stages import StageStep

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
        help="Names in allowed_signers that may sign the channel's next release. Default: unchanged; at first, all.",
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
        help="Number of signers that must sign it. Default: unchanged; at first, 1.",
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


def _parse_rule(shadow: str | None, gate: str, every: int, *, signed: bool) -> dict[str, float] | None:
    """Return the rule of a comparison as devices read it; None without --shadow.

    Raises:
        UsageError: the time or the gate is not valid, or the release is not signed.
    """
    from toolkit.device.release.freshness import MAX_SHADOW_S

    options = parse_shadow(shadow, [gate], every, allow_undecided=False)
    if options is None:
        return None
    if options.agreement is None:
        remedy = "accuracy needs the labels on this machine: toolkit deploy --shadow TIME --shadow-gate accuracy=SHARE"
        raise UsageError("devices that pull releases judge agreement only", where="--shadow-gate", remedy=remedy)
    if options.seconds > MAX_SHADOW_S:
        raise UsageError(f"{shadow} is longer than a pull may take", where="--shadow", remedy="use at most 30m")
    if not signed:
        remedy = "add --sign KEY: the channel's signed statement tells devices to compare"
        raise UsageError("a release that is not signed has no statement", where="--shadow", remedy=remedy)
    return {"seconds": options.seconds, "agreement": options.agreement, "every": every}


def print_kinds(kinds: Mapping[str, str]) -> None:
    """Print which variant each kind of device takes; nothing if there is one release alone."""
    for kind, name in kinds.items():
        print(f"  {kind}: {name}")


def publish(
    bundle: BundleArgument,
    channel: Annotated[str, typer.Argument(metavar="HOST[:PORT]/NAME:CHANNEL", help="Channel that devices pull from.")],
    fastest: Annotated[
        bool,
        typer.Option(
            "--fastest",
            help="Publish all variants of BUNDLE's model: each device takes the one that `bench --choose` found the fastest on its "
            "kind, or else BUNDLE. Requires --sign.",
        ),
    ] = False,
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
            metavar="TIME",
            help="Maximum time, up to 30m, to run the release beside the serving one on live frames, on each device of the "
            "channel, before it switches; requires --sign. Default: no comparison.",
            rich_help_panel=COMPARISON,
        ),
    ] = None,
    shadow_gate: Annotated[
        str,
        typer.Option(
            metavar="agreement=SHARE",
            help="Share of frames on which both releases must agree.",
            rich_help_panel=COMPARISON,
        ),
    ] = "agreement=0.95",
    shadow_every: ShadowEveryOption = 25,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CHANNEL",
            help="Publish only if a device of this channel, of the same repository, reports that it compared this release, "
            "agreed and serves it, and no device reports that it refused it.",
            rich_help_panel=COMPARISON,
        ),
    ] = None,
    batch: BatchOption = None,
    group: GroupOption = None,
    pause: PauseOption = None,
    max_failures: MaxFailuresOption = None,
    min_deployed: MinDeployedOption = None,
    window: WindowOption = None,
    strategy: StrategyOption = None,
    wait: WaitOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Publish a bundle to an OCI registry.

    Sends only what the registry lacks; devices that pull from the channel fetch only what they lack.
    With --batch, --group, --window or --strategy, each call looks at the devices' reports once and advances the rollout, leaves it
    as it is, or halts it. Exit code 1 if it is halted.
    """
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.deploy.registry.channel_statement import StatementOptions
    from toolkit.deploy.registry.device_reports import require_canary
    from toolkit.deploy.registry.publish import publish as push
    from toolkit.deploy.registry.release_variants import collect_variants
    from toolkit.deploy.registry.staged_rollout import publish_until_complete
    from toolkit.progress import create_progress
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    if fastest and after is not None:
        remedy = "publish each variant to a channel of its own, without --fastest"
        raise UsageError("--fastest excludes --after: a canary compares only the variant of its kind", remedy=remedy)
    rule = _parse_rule(shadow, shadow_gate, shadow_every, signed=bool(sign))
    staged = parse_staged(batch, group, pause, max_failures, min_deployed, window, strategy, signed=bool(sign))
    seconds = parse_duration(wait, "--wait") if wait else 0.0
    if seconds and staged is None:
        raise UsageError("there is no rollout to wait for", where="--wait", remedy="add --batch 1%,25%,100%")
    if fastest and staged is not None:
        remedy = "publish each variant to a channel of its own, without --fastest"
        raise UsageError("--fastest excludes --batch: a rollout judges reports about one release", remedy=remedy)
    place = Workspace(workspace)
    with Store(place.database) as store:
        path = bundle_folder(bundle, place, store)
        variants = collect_variants(path, place, store) if fastest else None
    progress = create_progress(quiet=as_json)
    keys = tuple(sign or ())
    statement = StatementOptions(
        expires_days=expires_days,
        allow_downgrade=allow_downgrade,
        signers=parse_signers(signers),
        threshold=threshold,
        cosigners=keys[1:],
        shadow=rule,
    )
    if after is not None:
        canaries = require_canary(
            path, f"{channel.rpartition(':')[0]}:{after}", credentials=credentials, plain=plain_http
        )
        progress.log(f"{after}: compared and served by {', '.join(one.device for one in canaries)}")
    settings: dict[str, Any] = {
        "key": keys[0] if keys else None,
        "credentials": credentials,
        "plain": plain_http,
        "progress": progress,
        "options": statement,
        "bills": place.folder("sboms"),
    }
    if staged is None:
        _print_published(push(path, channel, variants=variants, **settings), as_json=as_json)
        return
    outcome = publish_until_complete(path, channel, staged, seconds=seconds, **settings)
    _print_published(outcome.published, outcome.step, as_json=as_json)
    if outcome.step.state == "halted":
        raise typer.Exit(int(ExitCode.SOME_FAILED))


def _print_published(result: PublishedRelease, step: StageStep | None = None, *, as_json: bool) -> None:
    if as_json:
        print_json(to_json(result) | ({"rollout": to_json(step)} if step else {}))
        return
    signed = "signed" if result.signed else "not signed"
    detail = (
        f"{format_bytes(result.sent_bytes)} sent, {signed}" if result.changed else "already published, nothing to do"
    )
    print(f"{result.channel}: release {result.release[:12]} of bundle {result.bundle[:12]}; {detail}")
    print_kinds(result.kinds)
    if step:
        print_step(step)
