"""The options that choose devices, declared once: `@with_fleet_options` adds them to a verb that takes `FleetOptions`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.cli.options import (
    DEFAULT_FORKS,
    DEFAULT_WORKSPACE,
    AskPassOption,
    FleetOption,
    ForksOption,
    InventoryOption,
    JsonOption,
    LimitOption,
    WorkspaceOption,
)

if TYPE_CHECKING:
    from pathlib import Path

    from toolkit.artifacts.fleet import Device
    from toolkit.progress import Progress
    from toolkit.store import Store
    from toolkit.workspace import Workspace


ReturnValue = TypeVar("ReturnValue")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """Which devices, how many at once, and the workspace; each field is an option."""

    fleet: FleetOption = False
    limit: LimitOption = None
    forks: ForksOption = DEFAULT_FORKS
    ask_pass: AskPassOption = False
    inventory: InventoryOption = None
    folder: WorkspaceOption = DEFAULT_WORKSPACE
    as_json: JsonOption = False

    @property
    def workspace(self) -> Workspace:
        """The workspace in the folder of --workspace."""
        from toolkit.workspace import Workspace

        return Workspace(self.folder)

    @property
    def progress(self) -> Progress:
        """Progress on stderr; none with --json."""
        from toolkit.progress import create_progress

        return create_progress(quiet=self.as_json)

    def store(self) -> Store:
        """The workspace's database, for a with-block."""
        from toolkit.store import Store

        return Store(self.workspace.database)

    def devices(self, *, ask_become_pass: bool = False) -> tuple[Device, ...]:
        """Return the selected devices; a whole fleet only on request.

        Raises:
            UsageError: neither --fleet nor --limit was given.
        """
        from toolkit.cli.fleet_output import require_target

        require_target(self.fleet, self.limit)
        return load_devices(self.workspace, self.inventory, self.limit, self.ask_pass, ask_become_pass)


def load_devices(
    workspace: Workspace,
    inventory: Path | None,
    limit: str | None,
    ask_pass: bool = False,
    ask_become_pass: bool = False,
) -> tuple[Device, ...]:
    """Return the devices of the requested inventory, or of the workspace's, with the passwords that are asked for."""
    from toolkit.fleet.inventory.load import find_inventory, load_inventory
    from toolkit.fleet.inventory.passwords import ask_passwords

    path = find_inventory(inventory, workspace)
    return load_inventory(path, limit, ask_passwords(login=ask_pass, become=ask_become_pass))


def with_fleet_options(verb: Callable[..., ReturnValue]) -> Callable[..., ReturnValue]:
    """Return the verb with the fields of FleetOptions as its last options, in place of its first parameter `options`."""
    own = list(inspect.signature(verb, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(FleetOptions, eval_str=True).parameters.values())
    names = {parameter.name for parameter in shared}

    @functools.wraps(verb)
    def wrapped(**values: Any) -> ReturnValue:
        options = FleetOptions(**{name: value for name, value in values.items() if name in names})
        return verb(options, **{name: value for name, value in values.items() if name not in names})

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped
