"""`toolkit deploy`: a bundle onto the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import (
    DEFAULT_FORKS,
    DEFAULT_WORKSPACE,
    BreakLockOption,
    FleetOption,
    ForksOption,
    InventoryOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from toolkit.artifacts import Deployment
    from toolkit.deploy import DeployPlan


def deploy(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, the first digits of its digest, or its name.")],
    fleet: FleetOption = False,
    limit: LimitOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    forks: ForksOption = DEFAULT_FORKS,
    break_lock: BreakLockOption = False,
    inventory: InventoryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Make devices serve a bundle: each sends back golden answers before it switches; a failed one keeps the old."""
    from toolkit.artifacts import Workspace
    from toolkit.cli.outcomes import report, say_where
    from toolkit.deploy import deploy as roll_out
    from toolkit.deploy import find_bundle, plan_rollout
    from toolkit.fleet.inventory import find_inventory, load_inventory
    from toolkit.progress import for_people
    from toolkit.store import Store

    say_where(fleet, limit)
    house, progress = Workspace(workspace), for_people(quiet=as_json)
    with Store(house.database) as store:
        path = find_bundle(bundle, house, store)
        devices = load_inventory(find_inventory(inventory, house), limit)
        if dry_run:
            plans = plan_rollout(path, devices, forks=forks, progress=progress)
            report(plans, ("would be", "steps"), plan_row, as_json=as_json)
            return
        done = roll_out(path, devices, store=store, forks=forks, progress=progress, break_lock=break_lock)
        report(done, OUTCOME_COLUMNS, outcome_row, as_json=as_json)


OUTCOME_COLUMNS = ("outcome", "release", "sent", "seconds")


def outcome_row(deployment: Deployment) -> tuple[object, ...]:
    """The cells of `OUTCOME_COLUMNS`."""
    sent = f"{deployment.sent_bytes / 1e6:,.1f} MB"
    return deployment.outcome, deployment.release[:12], sent, f"{deployment.seconds:.1f}"


def plan_row(plan: DeployPlan) -> tuple[object, ...]:
    """Whether it would change, and by which steps."""
    steps = "; ".join(f"{step.name}: {step.what}" for step in plan.steps)
    return ("changed", steps) if plan.steps else ("unchanged", "nothing to do")
