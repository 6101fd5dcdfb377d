"""`toolkit completion`: completion scripts for shells."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class ShellName(StrEnum):
    """Shells that are supported."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


DESTINATIONS = {
    ShellName.bash: "~/.local/share/bash-completion/completions/toolkit",
    ShellName.zsh: "a folder of $fpath, as _toolkit",
    ShellName.fish: "~/.config/fish/completions/toolkit.fish",
}


def completion(shell: Annotated[ShellName, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print a shell completion script.

    Redirect it to the file that its first line names.
    """
    from typer._completion_shared import get_completion_script  # typer has no public function that returns it

    typer.echo(f"# toolkit: save this as {DESTINATIONS[shell]}")
    typer.echo(get_completion_script(prog_name="toolkit", complete_var="_TOOLKIT_COMPLETE", shell=shell.value))
