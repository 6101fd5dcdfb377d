"""Options that several verbs share, defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

DEVICES = "Devices"
TRAINING = "Training"
WORK = "Workspace and output"
"""Titles of option groups in --help."""

EXPERIMENT_ARGUMENT: Any = typer.Argument(
    metavar="EXPERIMENT",
    help="Experiment file, such as models/*.toml, a folder with a subfolder of images per class, or a CSV list of images.",
)
WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar="TOOLKIT_WORKSPACE",
        metavar="FOLDER",
        help="Folder of everything that the toolkit creates.",
        rich_help_panel=WORK,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout instead of tables.", rich_help_panel=WORK)]
InventoryOption = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        "-i",
        metavar="FILE",
        help="Ansible inventory. Default: the workspace's local fleet, else its virtual fleet, else "
        "ansible/inventory/fleet.yml.",
        rich_help_panel=DEVICES,
    ),
]
LimitOption = Annotated[
    str | None,
    typer.Option(
        "--limit",
        metavar="PATTERN",
        help="Devices by name, group or pattern, as in Ansible's --limit.",
        rich_help_panel=DEVICES,
    ),
]
FleetOption = Annotated[bool, typer.Option("--fleet", help="All devices of the inventory.", rich_help_panel=DEVICES)]
AskPassOption = Annotated[
    bool,
    typer.Option(
        "--ask-pass", "-k", help="Ask for the password of SSH logins, once for all devices.", rich_help_panel=DEVICES
    ),
]
AskBecomePassOption = Annotated[
    bool,
    typer.Option(
        "--ask-become-pass", "-K", help="Ask for the password of sudo on the devices.", rich_help_panel=DEVICES
    ),
]
ForksOption = Annotated[
    int,
    typer.Option("--forks", min=1, metavar="N", help="Devices reached at the same time.", rich_help_panel=DEVICES),
]
BreakLockOption = Annotated[
    bool, typer.Option("--break-lock", help="Take over a device that another controller has locked.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")]
HooksOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Programs to run before and after. Default: the folder hooks of the workspace."
    ),
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="What runs the trials: local or ray.", show_default=True, rich_help_panel=TRAINING
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Ray cluster, or auto. Default: RAY_ADDRESS, else one on this machine.",
        rich_help_panel=TRAINING,
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Compute profile. Default: the one tuned for the network, if any.",
        rich_help_panel=TRAINING,
    ),
]
TuneOption = Annotated[
    float,
    typer.Option(
        "--tune",
        envvar="TOOLKIT_TUNE",
        min=0,
        metavar="SECONDS",
        help="Time limit for tuning each network that has no compute profile on this machine; 0: no tuning.",
        rich_help_panel=TRAINING,
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes of a Ray cluster that train each model together.",
        rich_help_panel=TRAINING,
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Trials that run in parallel. Default: what memory and CPUs allow.",
        rich_help_panel=TRAINING,
    ),
]
TrackOption = Annotated[
    bool | None,
    typer.Option(
        "--track/--no-track",
        envvar="TOOLKIT_TRACK",
        help="Record runs in MLflow: at MLFLOW_TRACKING_URI, else in the workspace. Default: only if that is set.",
        rich_help_panel=TRAINING,
    ),
]
OpenOption = Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")]
BundleArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="Folder, name, or first four or more digits of the digest.")
]

DEFAULT_WORKSPACE = Path("workspace")
DEFAULT_FORKS = 16
