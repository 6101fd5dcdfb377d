"""`toolkit rollback`: return devices to their previous release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.options import AskBecomePassOption, BreakLockOption, DryRunOption, HooksOption

if TYPE_CHECKING:
    from toolkit.deploy import DeviceStatus


@with_fleet_options
def rollback(
    options: FleetOptions,
    ask_become_pass: AskBecomePassOption = False,
    hooks: HooksOption = None,
    dry_run: DryRunOption = False,
    break_lock: BreakLockOption = False,
) -> None:
    """Roll devices back to their previous release.

    Running it again returns to the newer one.
    """
    from toolkit.cli.fleet_output import print_results, print_rollout
    from toolkit.deploy import plan_rollback
    from toolkit.deploy import rollback as roll_back

    devices = options.devices(ask_become_pass=ask_become_pass)
    if dry_run:
        plans = plan_rollback(devices, forks=options.forks, progress=options.progress)
        print_results(plans, ("current", "would be"), _row, as_json=options.as_json)
        return
    with options.store() as store:
        result = roll_back(
            devices,
            hooks=hooks or options.workspace.root / "hooks",
            store=store,
            forks=options.forks,
            progress=options.progress,
            break_lock=break_lock,
        )
    print_rollout(result, as_json=options.as_json)


def _row(serving: DeviceStatus) -> tuple[object, ...]:
    return (serving.release or "")[:12], (serving.previous or "")[:12]
