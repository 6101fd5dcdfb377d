"""`toolkit fleet exec`: one command on many devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.fleet_options import FleetOptions, with_fleet_options
from toolkit.cli.options import DryRunOption

if TYPE_CHECKING:
    from toolkit.artifacts.fleet import Device
    from toolkit.fleet import FleetResult, Result


@with_fleet_options
def run_everywhere(
    options: FleetOptions,
    command: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND...", help="After --: words as they are; one alone is a shell's script."),
    ],
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="For each device.")] = 120.0,
    dry_run: DryRunOption = False,
) -> None:
    """Run a command on devices side by side: what each of them says, and its exit code. Exit code 1 if one is not 0."""
    from toolkit import fleet
    from toolkit.cli.output import print_json

    devices = options.devices()
    script: list[str] | str = command if len(command) > 1 else command[0]
    if dry_run:
        names = [device.name for device in devices]
        print_json({"command": script, "devices": names}) if options.as_json else print("\n".join(names))
        return

    def ask(device: Device) -> Result:
        with fleet.connect(device) as shell:
            return shell.run(script, timeout=timeout)

    _show(
        fleet.fan_out(devices, ask, options.forks, progress=options.progress, title="running"), as_json=options.as_json
    )


def _show(result: FleetResult[Result], *, as_json: bool) -> None:
    """Each device's lines behind its name; then what failed, and the exit code."""
    import sys

    from toolkit.cli.fleet_output import fail_with
    from toolkit.cli.output import plain, print_json
    from toolkit.errors import ExitCode

    bad = {device.name: answer.code for device, answer in result.ok.items() if answer.code}
    if as_json:
        done = [{"device": device.name} | plain(answer) for device, answer in result.ok.items()]
        lost = [{"device": device.name, "error": plain(problem)} for device, problem in result.failed.items()]
        print_json({"devices": [*done, *lost], "failed": len(lost) + len(bad)})
    else:
        width = max((len(device.name) for device in result.ok), default=0)
        for device, answer in result.ok.items():
            for stream, said in ((sys.stdout, answer.stdout), (sys.stderr, answer.stderr)):
                for line in said.splitlines():
                    print(f"{device.name:<{width}} | {line}", file=stream)
    for name, code in bad.items():
        print(f"error: {name}: exit code {code}", file=sys.stderr)
    fail_with(result.failed, ExitCode.SOME_FAILED if bad else result.exit_code)
