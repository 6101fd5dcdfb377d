"""The options by which a verb reaches devices, declared once: `@reaching` gives them to a verb that takes a `Reach`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

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
    from toolkit.artifacts import Device, Workspace
    from toolkit.progress import Progress
    from toolkit.store import Store


Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which devices, how many at once, and where the work is kept; the fields are the options."""

    fleet: FleetOption = False
    limit: LimitOption = None
    forks: ForksOption = DEFAULT_FORKS
    inventory: InventoryOption = None
    workspace: WorkspaceOption = DEFAULT_WORKSPACE
    as_json: JsonOption = False

    @property
    def house(self) -> Workspace:
        """The workspace."""
        from toolkit.artifacts import Workspace

        return Workspace(self.workspace)

    @property
    def progress(self) -> Progress:
        """Talk on stderr, none beside JSON."""
        from toolkit.progress import for_people

        return for_people(quiet=self.as_json)

    def store(self) -> Store:
        """The workspace's database, for a with-block."""
        from toolkit.store import Store

        return Store(self.house.database)

    def devices(self) -> tuple[Device, ...]:
        """Those that are meant; whole fleets are touched only on demand.

        Raises:
            UsageError: neither --fleet nor --limit was given.
        """
        from toolkit.cli.fleet_output import say_where
        from toolkit.fleet.inventory.load import find_inventory, load_inventory

        say_where(self.fleet, self.limit)
        return load_inventory(find_inventory(self.inventory, self.house), self.limit)


def reaching(verb: Callable[..., Answer]) -> Callable[..., Answer]:
    """The verb with Reach's fields as its last options, in the place of its first parameter `reach`."""
    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(Reach, eval_str=True).parameters.values())
    names = {parameter.name for parameter in shared}

    @functools.wraps(verb)
    def wrapped(**given: Any) -> Answer:
        reach = Reach(**{name: value for name, value in given.items() if name in names})
        return verb(reach, **{name: value for name, value in given.items() if name not in names})

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped
