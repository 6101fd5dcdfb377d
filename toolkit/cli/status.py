"""`toolkit status`: what each device serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.cli.options import (
    DEFAULT_FORKS,
    DEFAULT_WORKSPACE,
    FleetOption,
    ForksOption,
    InventoryOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from toolkit.deploy import Serving


def status(
    fleet: FleetOption = False,
    limit: LimitOption = None,
    forks: ForksOption = DEFAULT_FORKS,
    inventory: InventoryOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """What each device serves, since when, and whether that is what was deployed last."""
    from toolkit.artifacts import Workspace
    from toolkit.cli.outcomes import report, say_where
    from toolkit.deploy import status as ask
    from toolkit.fleet.inventory import find_inventory, load_inventory
    from toolkit.progress import for_people
    from toolkit.store import Store

    say_where(fleet, limit)
    house = Workspace(workspace)
    with Store(house.database) as store:
        devices = load_inventory(find_inventory(inventory, house), limit)
        found = ask(devices, store=store, forks=forks, progress=for_people(quiet=as_json))
    report(found, ("bundle", "release", "since", "as deployed", "previous"), _row, as_json=as_json)


def _row(serving: Serving) -> tuple[object, ...]:
    verdict = {True: "yes", False: "NO", None: "not by this workspace"}[serving.as_expected]
    return (
        serving.name or "nothing",
        (serving.release or "")[:12],
        (serving.since or "")[:19].replace("T", " "),
        verdict if serving.lock is None else f"{verdict}; locked by {serving.lock}",
        (serving.previous or "")[:12],
    )
