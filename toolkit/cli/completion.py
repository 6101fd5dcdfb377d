"""`toolkit completion`: what a shell needs to complete the command's words."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """The shells that are known."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


WHERE = {
    Shell.bash: "~/.local/share/bash-completion/completions/toolkit",
    Shell.zsh: "a folder of $fpath, as _toolkit",
    Shell.fish: "~/.config/fish/completions/toolkit.fish",
}


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print a shell's completion script: verbs, options and their values; redirect it to where the shell looks."""
    from typer._completion_shared import get_completion_script  # typer documents what it prints, and no other way to it

    typer.echo(f"# toolkit: keep this as {WHERE[shell]}")
    typer.echo(get_completion_script(prog_name="toolkit", complete_var="_TOOLKIT_COMPLETE", shell=shell.value))
