"""The options that several verbs share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", envvar="TOOLKIT_WORKSPACE", help="The folder that work goes under.", show_default=True),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of tables.")]
InventoryOption = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        "-i",
        help="The Ansible inventory. Default: the workspace's embedded fleet if it is "
        "there, else ansible/inventory/fleet.yml.",
    ),
]
LimitOption = Annotated[
    str | None, typer.Option("--limit", help="Only these devices: names, groups or patterns, as Ansible's --limit.")
]
FleetOption = Annotated[bool, typer.Option("--fleet", help="All devices of the inventory.")]
BreakLockOption = Annotated[bool, typer.Option("--break-lock", help="Take over a device's lock from whoever has it.")]
ForksOption = Annotated[int, typer.Option("--forks", min=1, help="At most so many devices at once.")]

DEFAULT_WORKSPACE = Path("workspace")
DEFAULT_FORKS = 16
