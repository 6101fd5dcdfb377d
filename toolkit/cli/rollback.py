"""`toolkit rollback`: the fleet back to what it served before."""

from __future__ import annotations

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


def rollback(
    fleet: FleetOption = False,
    limit: LimitOption = None,
    forks: ForksOption = DEFAULT_FORKS,
    break_lock: BreakLockOption = False,
    inventory: InventoryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Make devices serve their previous release; a second time goes forth again."""
    from toolkit.artifacts import Workspace
    from toolkit.cli.deploy import OUTCOME_COLUMNS, outcome_row
    from toolkit.cli.outcomes import report, say_where
    from toolkit.deploy import rollback as go_back
    from toolkit.fleet.inventory import find_inventory, load_inventory
    from toolkit.progress import for_people
    from toolkit.store import Store

    say_where(fleet, limit)
    house = Workspace(workspace)
    with Store(house.database) as store:
        devices = load_inventory(find_inventory(inventory, house), limit)
        progress = for_people(quiet=as_json)
        done = go_back(devices, store=store, forks=forks, progress=progress, break_lock=break_lock)
        report(done, OUTCOME_COLUMNS, outcome_row, as_json=as_json)
