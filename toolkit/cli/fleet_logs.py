"""`toolkit fleet logs`: what the service on each device wrote, or what was done to the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.artifacts.fleet import Device
    from toolkit.fleet import Result


@with_fleet_options
def logs(
    options: FleetOptions,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of each device.")] = 20,
) -> None:
    """The runner's journal on each device; where systemd does not run it, the device's audit log of deployments."""
    from toolkit import fleet
    from toolkit.cli.fleet_output import fail_with
    from toolkit.cli.output import plain, print_json
    from toolkit.deploy import commands

    devices = options.devices()
    if follow:
        _follow(options, devices, lines)
        return

    def ask(device: Device) -> Result:
        with fleet.connect(device) as shell:
            return shell.run(commands.logs(device, lines, follow=False)).check(device, "reading its log")

    found = fleet.fan_out(devices, ask, options.forks, progress=options.progress, title="reading")
    if options.as_json:
        done = [{"device": device.name, "lines": said.stdout.splitlines()} for device, said in found.ok.items()]
        lost = [{"device": device.name, "error": plain(problem)} for device, problem in found.failed.items()]
        print_json({"devices": [*done, *lost], "failed": len(lost)})
    else:
        for device, said in found.ok.items():
            for line in said.stdout.splitlines():
                print(_line(device, line, as_json=False))
    fail_with(found.failed, found.exit_code)


def _follow(options: FleetOptions, devices: Sequence[Device], lines: int) -> None:
    """All at once, whatever --forks says; with --json an object a line."""
    from toolkit import fleet
    from toolkit.cli.fleet_output import fail_with
    from toolkit.deploy import commands

    def listen(device: Device) -> None:
        with fleet.connect(device) as shell:
            words = commands.logs(device, lines, follow=True)
            shell.follow(words, lambda line: print(_line(device, line, as_json=options.as_json), flush=True))

    found = fleet.fan_out(devices, listen, len(devices))
    fail_with(found.failed, found.exit_code)


def _line(device: Device, line: str, *, as_json: bool) -> str:
    import json

    if as_json:
        return json.dumps({"device": device.name, "line": line}, ensure_ascii=False)
    return f"{device.name} | {line}"
