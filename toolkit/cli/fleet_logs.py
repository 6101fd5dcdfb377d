"""`toolkit fleet logs`: the logs of each device's service or deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.artifacts.fleet import Device
    from toolkit.fleet import CommandResult


@with_fleet_options
def logs(
    options: FleetOptions,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="Lines per device.")] = 20,
) -> None:
    """Print the service logs of devices.

    Where systemd does not run the service, prints the device's audit log of deployments.
    """
    from toolkit import fleet
    from toolkit.cli.fleet_output import exit_with, failures_json
    from toolkit.cli.output import print_json
    from toolkit.deploy import commands

    devices = options.devices()
    if follow:
        _follow(options, devices, lines)
        return

    def read(device: Device) -> CommandResult:
        with fleet.connect(device) as shell:
            return shell.run(commands.logs(device, lines, follow=False)).check(device, "reading its log")

    result = fleet.fan_out(devices, read, options.forks, progress=options.progress, title="reading")
    if options.as_json:
        done = [{"device": device.name, "lines": log.stdout.splitlines()} for device, log in result.ok.items()]
        failed = failures_json(result.failed)
        print_json({"devices": [*done, *failed], "failed": len(failed)})
    else:
        for device, log in result.ok.items():
            for line in log.stdout.splitlines():
                print(_line(device, line, as_json=False))
    exit_with(result.failed, result.exit_code)


def _follow(options: FleetOptions, devices: Sequence[Device], lines: int) -> None:
    """Print new lines of all devices at once, whatever --forks is; with --json one object per line."""
    from toolkit import fleet
    from toolkit.cli.fleet_output import exit_with
    from toolkit.deploy import commands

    def listen(device: Device) -> None:
        with fleet.connect(device) as shell:
            argv = commands.logs(device, lines, follow=True)
            shell.follow(argv, lambda line: print(_line(device, line, as_json=options.as_json), flush=True))

    result = fleet.fan_out(devices, listen, len(devices))
    exit_with(result.failed, result.exit_code)


def _line(device: Device, line: str, *, as_json: bool) -> str:
    import json

    from toolkit.progress import escape_control, strip_control

    if as_json:
        return escape_control(json.dumps({"device": device.name, "line": line}, ensure_ascii=False))
    return strip_control(f"{device.name} | {line}")
