"""`toolkit rollback`: the fleet back to what it served before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.cli.fleet_options import Reach, reaching
from toolkit.cli.options import BreakLockOption, DryRunOption, HooksOption

if TYPE_CHECKING:
    from toolkit.deploy import Serving


@reaching
def rollback(
    reach: Reach, hooks: HooksOption = None, dry_run: DryRunOption = False, break_lock: BreakLockOption = False
) -> None:
    """Make devices serve their previous release; a second time goes forth again."""
    from toolkit.cli.fleet_output import report, report_rollout
    from toolkit.deploy import plan_rollback
    from toolkit.deploy import rollback as go_back

    devices = reach.devices()
    if dry_run:
        plans = plan_rollback(devices, forks=reach.forks, progress=reach.progress)
        report(plans, ("serves", "would serve"), _row, as_json=reach.as_json)
        return
    with reach.store() as store:
        done = go_back(
            devices,
            hooks=hooks or reach.house.root / "hooks",
            store=store,
            forks=reach.forks,
            progress=reach.progress,
            break_lock=break_lock,
        )
    report_rollout(done, as_json=reach.as_json)


def _row(serving: Serving) -> tuple[object, ...]:
    return (serving.release or "")[:12], (serving.previous or "")[:12]
