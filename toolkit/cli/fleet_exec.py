"""`toolkit fleet exec`: run one command on many devices."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.options import DryRunOption

if TYPE_CHECKING:
    from toolkit.artifacts.fleet import Device
    from toolkit.fleet import CommandResult, FleetResult


@with_fleet_options
def run_everywhere(
    options: FleetOptions,
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="Program and arguments after --; a single argument is a shell script."),
    ],
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Time limit per device.")] = 120.0,
    dry_run: DryRunOption = False,
) -> None:
    """Run a command on devices in parallel.

    Prints each device's output and exit code. Exit code 1 if one of them is not 0.
    """
    from toolkit import fleet
    from toolkit.cli.output import print_json

    devices = options.devices()
    script: list[str] | str = command if len(command) > 1 else command[0]
    if dry_run:
        names = [device.name for device in devices]
        print_json({"command": script, "devices": names}) if options.as_json else print("\n".join(names))
        return

    def run(device: Device) -> CommandResult:
        with fleet.connect(device) as shell:
            return shell.run(script, timeout=timeout)

    result = fleet.fan_out(devices, run, options.forks, progress=options.progress, title="running")
    _show(result, as_json=options.as_json)


def _show(result: FleetResult[CommandResult], *, as_json: bool) -> None:
    """Print each device's lines after its name; then the failures; then exit."""
    from toolkit.cli.fleet_output import exit_with, failures_json
    from toolkit.cli.output import print_json, to_json
    from toolkit.errors import ExitCode
    from toolkit.progress import log_error, strip_control

    bad = {device.name: answer.code for device, answer in result.ok.items() if answer.code}
    if as_json:
        done = [{"device": device.name} | to_json(answer) for device, answer in result.ok.items()]
        failed = failures_json(result.failed)
        print_json({"devices": [*done, *failed], "failed": len(failed) + len(bad)})
    else:
        width = max((len(device.name) for device in result.ok), default=0)
        for device, answer in result.ok.items():
            for stream, text in ((sys.stdout, answer.stdout), (sys.stderr, answer.stderr)):
                for line in text.splitlines():
                    print(strip_control(f"{device.name:<{width}} | {line}"), file=stream)
    for name, code in bad.items():
        log_error(f"{name}: exit code {code}")
    exit_with(result.failed, ExitCode.SOME_FAILED if bad else result.exit_code)
