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
        "there, its virtual one, else ansible/inventory/fleet.yml.",
    ),
]
LimitOption = Annotated[
    str | None, typer.Option("--limit", help="Only these devices: names, groups or patterns, as Ansible's --limit.")
]
FleetOption = Annotated[bool, typer.Option("--fleet", help="All devices of the inventory.")]
BreakLockOption = Annotated[bool, typer.Option("--break-lock", help="Take over a device's lock from whoever has it.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]
HooksOption = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Programs to run before and after. Default: the workspace's folder hooks."),
]
ForksOption = Annotated[int, typer.Option("--forks", min=1, help="At most so many devices at once.")]
ExecutorOption = Annotated[str, typer.Option(help="Who trains the trials: local or ray.", show_default=True)]
AddressOption = Annotated[
    str | None,
    typer.Option(help="The Ray cluster, HOST:PORT or auto. Default: RAY_ADDRESS, or one of this machine alone."),
]
ProfileOption = Annotated[
    str | None, typer.Option(help="Train under this profile. Default: the one tuned for the network, if there is one.")
]
TuneOption = Annotated[
    float,
    typer.Option(
        "--tune",
        envvar="TOOLKIT_TUNE",
        min=0,
        metavar="SECONDS",
        help="First measure this interpreter for each network that has no profile on this machine, for so long at most; "
        "0: never.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(min=1, help="So many trials side by side. Default: as many as memory and CPUs allow."),
]
TrackOption = Annotated[
    bool | None,
    typer.Option(
        "--track/--no-track",
        envvar="TOOLKIT_TRACK",
        help="Tell MLflow of everything: at MLFLOW_TRACKING_URI, or in the workspace. Default: if that is set.",
    ),
]

OpenOption = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")]

DEFAULT_WORKSPACE = Path("workspace")
DEFAULT_FORKS = 16
