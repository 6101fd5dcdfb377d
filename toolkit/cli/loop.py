"""`toolkit loop`: collect, wait for labels, retrain, propose a rollout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options as shared
from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.shadow_options import find_labeled

if TYPE_CHECKING:
    from toolkit.artifacts.fleet import Device
    from toolkit.deploy import RolloutResult
    from toolkit.experiment.schema import Experiment
    from toolkit.loop.next_round import Round
    from toolkit.store import Store


@with_fleet_options
def loop(
    options: FleetOptions,
    experiment: Annotated[Path, shared.EXPERIMENT_ARGUMENT],
    labels: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="New labels that start a retraining. Default: from the learning curve, 20 to 500."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Deploy the new model without asking.")] = False,
) -> None:
    """Run one round from captures to a rollout.

    Collects captures, stops if there are too few new labels, retrains, and proposes a rollout unless the model is
    worse. Can run from a timer: each call continues where the last one stopped.
    """
    from toolkit.captures.collect import CollectOptions, collect
    from toolkit.experiment.load import load_experiment
    from toolkit.loop.next_round import next_round
    from toolkit.progress import log_error

    plan, devices = load_experiment(experiment), options.devices()
    with options.store() as store:
        collected = collect(devices, options.workspace, store, CollectOptions(forks=options.forks), options.progress)
        for device, error in collected.errors.items():
            log_error(f"{device.name}: not collected: {error}")
        result = next_round(plan, options.workspace, store, options.progress, least=labels)
        rollout = None
        if result.retraining and result.retraining.bundle and _confirmed(result, yes=yes, as_json=options.as_json):
            rollout = _deploy(plan, result.retraining.bundle, devices, options, store)
    _report(result, sum(one.stored for one in collected.ok.values()), rollout, options, experiment)


def _confirmed(result: Round, *, yes: bool, as_json: bool) -> bool:
    from toolkit.cli.retrain import print_retraining

    if as_json or not sys.stdin.isatty() or yes:
        return yes
    assert result.retraining is not None  # noqa: S101 - as the caller has seen
    print_retraining(result.retraining, "")
    return typer.confirm("Deploy it?", err=True)


def _deploy(
    plan: Experiment, bundle: str, devices: tuple[Device, ...], options: FleetOptions, store: Store
) -> RolloutResult:
    """Roll the bundle out with the experiment's [deploy] settings and the usual gates."""
    from toolkit import deploy
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.deploy.gates.soak import Soak

    table = plan.deploy
    shadow = deploy.shadow_from_config(table)
    labeled = find_labeled(shadow, options.workspace, store)
    return deploy.deploy(
        bundle_folder(bundle, options.workspace, store),
        devices,
        strategy=deploy.strategy_from_config(table),
        gates=deploy.gates_from_config(table, store, shadow, options.progress, labeled),
        hooks=plan.resolve_path(table.hooks) if table.hooks else options.workspace.root / "hooks",
        store=store,
        bills=options.workspace.folder("sboms"),
        forks=options.forks,
        progress=options.progress,
        soak=Soak(seconds=table.soak_s, forks=options.forks) if table.soak_s else None,
    )


def _report(result: Round, stored: int, rollout: RolloutResult | None, options: FleetOptions, experiment: Path) -> None:
    """Print the round's result and the next step; exit code 1 if a model was refused or a device failed."""
    from toolkit.cli.fleet_output import print_rollout
    from toolkit.cli.output import print_json
    from toolkit.cli.retrain import print_retraining
    from toolkit.errors import ExitCode

    place = options.workspace.option
    if options.as_json:
        outcomes = {} if rollout is None else {one.name: each.outcome for one, each in rollout.ok.items()}
        print_json({"collected": stored, "round": result, "deployed": outcomes})
    else:
        print(f"captures: {stored} new; labels: {result.labels} new, {result.needed} needed ({result.reason})")
        if result.retraining is None and result.labels < result.needed:
            print(f"next: toolkit label {experiment}{place}")
        elif result.retraining is None:
            print("the new labels change nothing: none of their captures can enter the data set")
        elif rollout is None:
            print_retraining(result.retraining, place)
        else:
            print_rollout(rollout, as_json=False)
    failed = bool(rollout and rollout.failed) or bool(result.retraining and result.retraining.refused)
    raise typer.Exit(ExitCode.SOME_FAILED if failed else ExitCode.DONE)
