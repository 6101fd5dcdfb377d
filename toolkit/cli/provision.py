"""`toolkit provision`: run Ansible's playbooks on the devices of an inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import JsonOption


def provision(
    inventory: Annotated[Path, typer.Option("--inventory", "-i", metavar="FILE", help="Ansible inventory.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- OPTION", help="Options of ansible-playbook, such as --limit, --check or -K."),
    ] = None,
    playbook: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="provision-pi, update, overlay, rotate-keys, decommission or record-host-keys."
        ),
    ] = "provision-pi",
    as_json: JsonOption = False,
) -> None:
    """Provision devices with Ansible.

    Runs one of the toolkit's own playbooks, like ansible-playbook in the folder ansible of a checkout. Exit code 1 if a
    device failed or could not be reached. With --json, Ansible's output goes to stderr.
    """
    from toolkit.cli.output import print_json, to_json
    from toolkit.errors import ExitCode, UsageError
    from toolkit.fleet.provisioning import PLAYBOOKS, run_playbook

    if playbook not in PLAYBOOKS:
        raise UsageError(f"there is no playbook {playbook}", where="--playbook", remedy=f"use {', '.join(PLAYBOOKS)}")
    result = run_playbook(playbook, inventory, arguments or (), to_stderr=as_json)
    if as_json:
        print_json(to_json(result))
    if result.exit_code:
        raise typer.Exit(ExitCode.SOME_FAILED)
