"""`toolkit deploy`: a bundle onto the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.options import BreakLockOption, DryRunOption, HooksOption

if TYPE_CHECKING:
    from toolkit.artifacts.fleet import Device
    from toolkit.deploy import DeployPlan, Strategy
    from toolkit.fleet import FleetResult


@with_fleet_options
def deploy(
    options: FleetOptions,
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, the first digits of its digest, or its name.")],
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="SIZES",
            help="How many devices at a time, as Ansible's serial: numbers or percentages, the last one repeated. "
            "Default: 1,25%,100%, or with --group each group at once.",
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(help="Groups one after the other, or VARIABLE=VALUE for a label; the other devices come last."),
    ] = None,
    pause: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Between two batches.")] = 0.0,
    max_failures: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="More devices that fail, or more percent, end it; of the first batch none may."
        ),
    ] = "0",
    undo: Annotated[
        bool, typer.Option("--undo/--no-undo", help="Whether what was done is taken back when it ends so.")
    ] = True,
    min_speed: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Of the speed last measured on a device, that it must have; 0: not asked.",
        ),
    ] = 0.5,
    healthy: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="So long the service must stay well; 0: not asked.")
    ] = 10.0,
    bandwidth: Annotated[
        str | None,
        typer.Option(
            metavar="RATE", help="Bytes a second for all devices together, such as 500k or 2M. Default: no limit."
        ),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(min=0, help="So many releases stay on a device besides the one that serves and the one before."),
    ] = 2,
    offline: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="Reach no device, but write what a stick carries: there, `python -m device install FILE` takes it.",
        ),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="With --offline: sign the release with this SSH key."),
    ] = None,
    hooks: HooksOption = None,
    dry_run: DryRunOption = False,
    break_lock: BreakLockOption = False,
) -> None:
    """Make devices serve a bundle: a canary first, then the others; what fails keeps the old one, and stops the rest."""
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.cli.fleet_output import report_rollout
    from toolkit.deploy import deploy as roll_out
    from toolkit.deploy import gates_of, plan_rollout, strategy_of
    from toolkit.experiment.schema import DeployTable
    from toolkit.fleet.transfer.staging import Sending
    from toolkit.fleet.transfer.stream import parse_bandwidth

    if offline is not None:
        _write(options, bundle, offline, sign)
        return
    sending = Sending(parse_bandwidth(bandwidth) if bandwidth else None, keep)
    wanted = DeployTable.model_construct(
        batch=batch,
        groups=tuple(group or ()),
        pause_s=pause,
        max_failures=max_failures,
        undo=undo,
        min_speed=min_speed,
        healthy_s=healthy,
    )
    strategy, devices = strategy_of(wanted), options.devices()
    with options.store() as store:
        path, gates = bundle_folder(bundle, options.workspace, store), gates_of(wanted, store)
        if dry_run:
            plans = plan_rollout(path, devices, gates=gates, forks=options.forks, progress=options.progress)
            _show(plans, strategy, as_json=options.as_json)
            return
        done = roll_out(
            path,
            devices,
            strategy=strategy,
            gates=gates,
            sending=sending,
            hooks=hooks or options.workspace.root / "hooks",
            store=store,
            forks=options.forks,
            progress=options.progress,
            break_lock=break_lock,
        )
    report_rollout(done, as_json=options.as_json)


def _write(options: FleetOptions, bundle: str, file: Path, key: Path | None) -> None:
    """The bundle's release as a file."""
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.cli.output import print_json
    from toolkit.deploy.offline import write_archive

    with options.store() as store:
        written = write_archive(bundle_folder(bundle, options.workspace, store), file, key)
    if options.as_json:
        print_json(written)
        return
    signed = "signed" if written.signed else "not signed: devices that ask for a signature will refuse it"
    print(f"{written.path}: release {written.release[:12]}, {written.size_bytes / 1e6:,.1f} MB, {signed}")


def _show(plans: FleetResult[DeployPlan], strategy: Strategy, *, as_json: bool) -> None:
    """What would be done, and in which batch."""
    from toolkit.cli.fleet_output import report
    from toolkit.deploy.strategy import check_groups, divide

    waiting: list[Device] = [device for device, plan in plans.ok.items() if plan.steps]
    check_groups([*plans.ok, *plans.errors], strategy)
    places = {device.name: batch.number for batch in divide(waiting, strategy) for device in batch.devices}

    def row(plan: DeployPlan) -> tuple[object, ...]:
        steps = "; ".join(f"{step.name}: {step.what}" for step in plan.steps)
        return ("changed", places[plan.device], steps) if plan.steps else ("unchanged", "", "nothing to do")

    report(
        plans,
        ("would be", "batch", "steps"),
        row,
        as_json=as_json,
        more=lambda plan: {"batch": places.get(plan.device)},
    )
