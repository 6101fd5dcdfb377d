"""`toolkit rollback`: the fleet back to what it served before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.options import BreakLockOption, DryRunOption, HooksOption

if TYPE_CHECKING:
    from toolkit.deploy import Serving


@with_fleet_options
def rollback(
    options: FleetOptions, hooks: HooksOption = None, dry_run: DryRunOption = False, break_lock: BreakLockOption = False
) -> None:
    """Make devices serve their previous release; a second time goes forth again."""
    from toolkit.cli.fleet_output import report, report_rollout
    from toolkit.deploy import plan_rollback
    from toolkit.deploy import rollback as go_back

    devices = options.devices()
    if dry_run:
        plans = plan_rollback(devices, forks=options.forks, progress=options.progress)
        report(plans, ("serves", "would serve"), _row, as_json=options.as_json)
        return
    with options.store() as store:
        done = go_back(
            devices,
            hooks=hooks or options.workspace.root / "hooks",
            store=store,
            forks=options.forks,
            progress=options.progress,
            break_lock=break_lock,
        )
    report_rollout(done, as_json=options.as_json)


def _row(serving: Serving) -> tuple[object, ...]:
    return (serving.release or "")[:12], (serving.previous or "")[:12]
