"""The options of `toolkit publish` about staged rollouts, and what it prints about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.deploy.registry.stages import StagedOptions, StageStep

STAGES = "Staged rollout"
MOST_PENDING = 10
"""Devices that are named although nothing is wrong with them."""

BatchOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZES",
        help="Devices per batch, as in `toolkit deploy`: percentages, or numbers of devices that report to the channel, "
        "such as 1%,25%,100%. The same command again advances. Default: all devices at once.",
        rich_help_panel=STAGES,
    ),
]
GroupOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GROUP",
        help="Label of devices, an inventory group or VARIABLE=VALUE, to admit in this order before all others; repeatable.",
        rich_help_panel=STAGES,
    ),
]
PauseOption = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="SECONDS", help="Shortest time between two batches; default 0.", rich_help_panel=STAGES
    ),
]
MaxFailuresOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Devices that may report a failure, as a number or percentage, after the first batch; default 0.",
        rich_help_panel=STAGES,
    ),
]
MinDeployedOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Devices of the batches so far, as a number or percentage, that must serve the release before the next "
        "batch; default 80%.",
        rich_help_panel=STAGES,
    ),
]
WindowOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WINDOW",
        help='When devices may switch, in their local time, such as 22:00-05:00 or "mon-fri 22:00-05:00"; repeatable. '
        "Default: always.",
        rich_help_panel=STAGES,
    ),
]
StrategyOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="EXPERIMENT",
        help="Experiment whose table [deploy] has these settings; options override it.",
        rich_help_panel=STAGES,
    ),
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Longest time, such as 6h, to look again until the rollout is complete or halted. Default: look once.",
        rich_help_panel=STAGES,
    ),
]


def parse_staged(
    batch: str | None,
    groups: list[str] | None,
    pause: float | None,
    max_failures: str | None,
    min_deployed: str | None,
    windows: list[str] | None,
    strategy: Path | None,
    *,
    signed: bool,
) -> StagedOptions | None:
    """Return the options of a staged rollout; None if none of them is there.

    Raises:
        UsageError: a size or a window is not valid, or the release is not signed.
        ConfigurationError: the experiment is not valid.
    """
    options = {
        "batch": batch,
        "groups": tuple(groups) if groups else None,
        "pause_s": pause,
        "max_failures": max_failures,
        "min_deployed": min_deployed,
        "windows": tuple(windows) if windows else None,
    }
    set_options = {name: value for name, value in options.items() if value is not None}
    if not set_options and strategy is None:
        return None
    from toolkit.deploy.registry.stages import StagedOptions
    from toolkit.deploy.rollout import strategy_from_config
    from toolkit.deploy.strategy import BatchSize
    from toolkit.experiment.load import load_experiment
    from toolkit.experiment.schema import DeployConfig

    if not signed:
        remedy = "add --sign KEY: the channel's signed statement tells devices when it is their turn"
        raise UsageError("a release that is not signed has no statement", where="--batch", remedy=remedy)
    if strategy is None and not {"batch", "groups", "windows"} & {*set_options}:
        remedy = "add --batch 1%,25%,100%, --group GROUP, --window WINDOW or --strategy EXPERIMENT"
        raise UsageError("there are no batches", where=_option_of(next(iter(set_options))), remedy=remedy)
    table = load_experiment(strategy).deploy if strategy else DeployConfig(batch=None if batch or groups else "100%")
    table = table.model_copy(update=set_options)
    check_texts(table.groups, table.windows)
    enough = BatchSize.parse(table.min_deployed)
    return StagedOptions(strategy=strategy_from_config(table), min_deployed=enough, windows=table.windows)


def _option_of(setting: str) -> str:
    return f"--{setting.removesuffix('_s').replace('_', '-')}"


def check_texts(groups: tuple[str, ...], windows: tuple[str, ...]) -> None:
    """Check groups and maintenance windows as devices do.

    Raises:
        UsageError: one is not valid, or there are too many.
    """
    from toolkit.device.errors import DeviceError
    from toolkit.device.release.cohort import MAX_ENTRIES, parse_labels, parse_window

    for option, texts in (("--group", groups), ("--window", windows)):
        if len(texts) >= MAX_ENTRIES:
            raise UsageError(
                f"{len(texts)} are too many", where=option, remedy=f"give fewer than {MAX_ENTRIES} of them"
            )
    option = "--group"
    try:
        parse_labels(groups)
        option = "--window"
        for window in windows:
            parse_window(window)
    except DeviceError as error:
        raise UsageError(error.what, where=option, remedy=error.remedy) from None


def print_step(step: StageStep) -> None:
    """Print the stage of a rollout, and the devices that failed."""
    from toolkit.cli.output import print_table

    print(f"rollout {step.state}, batch {step.rule.batch} of {step.batches}: {step.reason}")
    pending = ", ".join(step.pending[:MOST_PENDING]) + (" …" if len(step.pending) > MOST_PENDING else "")
    rows = [("serve it", len(step.deployed), ""), ("pending", len(step.pending), pending)]
    print_table(("known devices of the batches so far", "number", "names"), rows)
    if step.failed:
        failed = ((one.device, one.outcome, one.reason) for one in step.failed)
        print_table(("device", "outcome", "reason"), failed)
