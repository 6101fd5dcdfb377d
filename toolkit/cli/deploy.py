"""`toolkit deploy`: roll a bundle out to devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.options import AskBecomePassOption, BreakLockOption, DryRunOption, HooksOption
from toolkit.cli.publish import DowngradeOption, SignersOption, SignOption, ThresholdOption, parse_signers, print_kinds
from toolkit.cli.shadow_options import (
    ShadowEveryOption,
    ShadowGateOption,
    ShadowOption,
    ShadowUndecidedOption,
    SoakOption,
    find_labeled,
    parse_duration,
    parse_shadow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toolkit.artifacts.fleet import Device
    from toolkit.bundle.model_variants import SelectedVariant
    from toolkit.deploy import DeployPlan, Strategy
    from toolkit.deploy.registry.channel_statement import StatementOptions
    from toolkit.fleet import FleetResult
    from toolkit.store import Store

ROLLOUT = "Rollout"
GATES = "Gates"
TRANSFER = "Transfer"


@with_fleet_options
def deploy(
    options: FleetOptions,
    bundle: Annotated[
        str | None,
        typer.Argument(
            metavar="BUNDLE",
            help="Folder, name, or first four or more digits of the digest. Default: what the report recommends.",
        ),
    ] = None,
    fastest: Annotated[
        bool,
        typer.Option(
            "--fastest",
            help="Send each device the variant of BUNDLE's model that `bench --choose` found the fastest on its kind.",
            rich_help_panel=ROLLOUT,
        ),
    ] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES",
            help="Devices per batch, as Ansible's serial: numbers or percentages, the last one repeated. "
            "Default: 1,25%,100%, or with --group one batch per group.",
            rich_help_panel=ROLLOUT,
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP",
            help="Inventory groups, or VARIABLE=VALUE, to deploy in this order before all others; repeatable.",
            rich_help_panel=ROLLOUT,
        ),
    ] = None,
    pause: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Pause between batches.", rich_help_panel=ROLLOUT),
    ] = 0.0,
    max_failures: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Failed devices, as a number or percentage, that the rollout tolerates after its first batch.",
            rich_help_panel=ROLLOUT,
        ),
    ] = "0",
    auto_rollback: Annotated[
        bool,
        typer.Option(
            "--auto-rollback/--no-auto-rollback",
            help="Roll back all devices if the rollout fails.",
            rich_help_panel=ROLLOUT,
        ),
    ] = True,
    min_speed: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Share of the speed last measured on a device that the release must reach there; 0: no gate.",
            rich_help_panel=GATES,
        ),
    ] = 0.5,
    health_seconds: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="Time that the service must stay healthy; 0: no gate.", rich_help_panel=GATES
        ),
    ] = 10.0,
    shadow: ShadowOption = None,
    shadow_gate: ShadowGateOption = None,
    shadow_every: ShadowEveryOption = 25,
    shadow_allow_undecided: ShadowUndecidedOption = False,
    soak: SoakOption = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Bytes per second for all devices together, such as 500k or 2M. Default: no limit.",
            rich_help_panel=TRANSFER,
        ),
    ] = None,
    keep_releases: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Older releases to keep on each device, besides the current and the previous one.",
            rich_help_panel=TRANSFER,
        ),
    ] = 2,
    offline: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="File to write the release to, for a USB drive, instead of connecting to devices. "
            "Install it there with `python -m device install FILE`.",
            rich_help_panel=TRANSFER,
        ),
    ] = None,
    sign: SignOption = None,
    signers: SignersOption = None,
    threshold: ThresholdOption = None,
    channel: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Channel that the devices of --offline follow; default offline.",
            rich_help_panel=TRANSFER,
        ),
    ] = "offline",
    allow_downgrade: DowngradeOption = False,
    ask_become_pass: AskBecomePassOption = False,
    hooks: HooksOption = None,
    dry_run: DryRunOption = False,
    break_lock: BreakLockOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Deploy the recommended bundle without asking.")] = False,
) -> None:
    """Deploy a bundle to devices.

    One device first, then batch by batch. A device that fails keeps its old release and stops the rollout.
    """
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.cli.fleet_output import print_rollout, require_target
    from toolkit.deploy import deploy as roll_out
    from toolkit.deploy import gates_from_config, plan_rollout, strategy_from_config
    from toolkit.deploy.gates.shadow_gate import ShadowGate
    from toolkit.deploy.gates.soak import Soak
    from toolkit.deploy.registry.channel_statement import StatementOptions
    from toolkit.errors import UsageError
    from toolkit.experiment.schema import DeployConfig
    from toolkit.fleet.transfer.staging import TransferOptions
    from toolkit.fleet.transfer.stream import parse_rate_limit

    beside = parse_shadow(shadow, shadow_gate, shadow_every, allow_undecided=shadow_allow_undecided)
    after = Soak(seconds=parse_duration(soak, "--soak"), forks=options.forks) if soak else None
    if offline is None:
        require_target(options.fleet, options.limit)
    elif beside or after:
        raise UsageError(
            "a release that is installed from a file is neither compared on live frames nor watched afterwards",
            where="--offline",
            remedy="try it over SSH on one device: toolkit deploy BUNDLE --limit DEVICE --shadow TIME --soak TIME",
        )
    transfer = TransferOptions(parse_rate_limit(bandwidth) if bandwidth else None, keep_releases)
    settings = DeployConfig.model_construct(
        batch=batch,
        groups=tuple(group or ()),
        pause_s=pause,
        max_failures=max_failures,
        auto_rollback=auto_rollback,
        min_speed=min_speed,
        health_s=health_seconds,
    )
    strategy = strategy_from_config(settings)
    with options.store() as store:
        if bundle is None:
            bundle = _recommended(options, store, confirmed=yes or dry_run)
        path = bundle_folder(bundle, options.workspace, store)
        labeled = find_labeled(beside, options.workspace, store)
        gates = gates_from_config(settings, store, beside, options.progress, labeled)
        if offline is not None:
            keys = tuple(sign or ())
            statement = StatementOptions(
                allow_downgrade=allow_downgrade,
                signers=parse_signers(signers),
                threshold=threshold,
                cosigners=keys[1:],
            )
            _write(options, path, offline, keys, channel, statement, store if fastest else None)
            return
        devices = options.devices(ask_become_pass=ask_become_pass)
        variants = _variants(options, path, devices, store) if fastest else {}
        if dry_run:
            plans = plan_rollout(
                path, devices, variants=variants, gates=gates, forks=options.forks, progress=options.progress
            )
            _show(plans, strategy, as_json=options.as_json)
            return
        result = roll_out(
            path,
            devices,
            variants=variants,
            strategy=strategy,
            gates=gates,
            transfer=transfer,
            hooks=hooks or options.workspace.root / "hooks",
            store=store,
            bills=options.workspace.folder("sboms"),
            forks=options.forks,
            progress=options.progress,
            break_lock=break_lock,
            soak=after,
        )
    runs = [run for gate in gates if isinstance(gate, ShadowGate) for run in gate.runs]
    print_rollout(result, as_json=options.as_json, shadow=runs)


def _variants(
    options: FleetOptions, folder: Path, devices: Sequence[Device], store: Store
) -> Mapping[str, SelectedVariant]:
    """Return the variant of the bundle's model for each device, and report it."""
    from toolkit.bundle.model_variants import fastest_variants
    from toolkit.deploy.compatibility import incompatibilities

    variants = fastest_variants(
        folder,
        devices,
        incompatibilities,
        workspace=options.workspace,
        store=store,
        forks=options.forks,
        progress=options.progress,
    )
    for name, variant in variants.items():
        options.progress.log(f"{name}: {variant.name}: {variant.why}")
    return variants


def _recommended(options: FleetOptions, store: Store, *, confirmed: bool) -> str:
    """Return the digest of the bundle that the report recommends; ask on a terminal unless `confirmed`.

    Raises:
        UsageError: the report recommends nothing, or nobody can be asked.
    """
    from toolkit.errors import UsageError
    from toolkit.report import recommend

    choice = recommend(options.workspace, store)
    if choice.bundle is None:
        raise UsageError(f"the report recommends no bundle: {choice.reason}", remedy="name one: toolkit deploy BUNDLE")
    text = f"{choice.bundle.name} ({choice.bundle.short}): {choice.reason}"
    if confirmed:
        options.progress.log(f"recommended: {text}")
        return choice.bundle.digest
    if not sys.stdin.isatty():
        raise UsageError(f"recommended: {text}", remedy="add --yes to deploy it, or name another BUNDLE")
    typer.confirm(f"{text}\nDeploy it?", abort=True, err=True)
    return choice.bundle.digest


def _write(
    options: FleetOptions,
    folder: Path,
    file: Path,
    keys: Sequence[Path],
    channel: str,
    statement: StatementOptions,
    measured: Store | None,
) -> None:
    """Write the bundle's release to a file; with the store of what was measured, also the other variants of its model."""
    from toolkit.cli.output import print_json
    from toolkit.deploy.offline import write_archive
    from toolkit.deploy.registry.release_variants import collect_variants
    from toolkit.progress import format_bytes

    records, bills = options.workspace.root / "channels", options.workspace.folder("sboms")
    variants = collect_variants(folder, options.workspace, measured) if measured else None
    key = keys[0] if keys else None
    archive = write_archive(folder, file, key, channel, statement, records, bills, variants)
    if options.as_json:
        print_json(archive)
        return
    signed = "signed" if archive.signed else "not signed: devices that require a signature will refuse it"
    print(f"{archive.path}: release {archive.release[:12]}, {format_bytes(archive.size_bytes)}, {signed}")
    print_kinds(archive.kinds)


def _show(plans: FleetResult[DeployPlan], strategy: Strategy, *, as_json: bool) -> None:
    """Print what would be done, and in which batch."""
    from toolkit.cli.fleet_output import print_results
    from toolkit.deploy.strategy import check_groups, make_batches

    changing: list[Device] = [device for device, plan in plans.ok.items() if plan.steps]
    check_groups([*plans.ok, *plans.errors], strategy)
    batches = {device.name: batch.number for batch in make_batches(changing, strategy) for device in batch.devices}

    def row(plan: DeployPlan) -> tuple[object, ...]:
        steps = "; ".join(f"{step.name}: {step.what}" for step in plan.steps)
        return ("deployed", batches[plan.device], steps) if plan.steps else ("unchanged", "", "nothing to do")

    print_results(
        plans,
        ("would be", "batch", "steps"),
        row,
        as_json=as_json,
        more=lambda plan: {"batch": batches.get(plan.device)},
    )
