# ruff: noqa: INP001 - it is run by its path
"""Write docs/cli.md from the commands themselves; a test holds the file against them. `just docs-cli`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from toolkit.cli.main import app

FILE = Path(__file__).parents[1] / "docs" / "cli.md"
TOP = """\
# The commands

Written by `just docs-cli` from the commands themselves; a test fails when this file is behind them.

stdout is data, stderr is talk. Exit codes: 0 done, 1 some devices or checks failed, 2 usage, 3 configuration, 4 environment,
130 interrupted. `toolkit --version` prints the version, and every command has `--help`.
"""


def render() -> str:
    """The whole file."""
    commands = list(_commands(typer.main.get_command(app), "toolkit"))
    contents = "\n".join(f"- [`{path}`](#{path.replace(' ', '-')}): {_first(command)}" for path, command in commands)
    return "\n".join((TOP, contents, *(_section(path, command) for path, command in commands)))


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, in the order of help."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _first(command: Any) -> str:
    return _help(command).partition("\n")[0]


def _help(command: Any) -> str:
    return inspect.cleandoc(command.help or "")


def _section(path: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if parameter.name != "help"]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    usage = " ".join((path, "[OPTIONS]" if options else "", *map(_usage, arguments))).replace("  ", " ").rstrip()
    lines = [f"\n## {path}\n", _help(command), f"\n```\n{usage}\n```\n", "| | |", "|---|---|"]
    lines += [f"| `{_usage(argument)}` | {_told(argument)} |" for argument in arguments]
    lines += [f"| {_names(option)} | {_told(option)} |" for option in options]
    return "\n".join(lines)


def _usage(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()).removesuffix("...").strip("[]")
    repeated = f"{name}..." if argument.nargs == -1 else name
    return repeated if argument.required else f"[{repeated}]"


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} `{option.metavar or option.bare_type().upper()}`"


def _told(parameter: Any) -> str:
    """Its help, with what typer would say of it besides."""
    facts = []
    if parameter.required and parameter.param_type_name == "option":
        facts.append("required")
    if getattr(parameter, "multiple", False):
        facts.append("may be given several times")
    if parameter.envvar:
        facts.append(f"environment: `{parameter.envvar}`")
    if parameter.default not in (None, False, ()) and not callable(parameter.default):
        facts.append(f"default: `{parameter.default}`")
    told = (parameter.help or "").replace("|", "\\|")
    return f"{told} ({'; '.join(facts)})" if facts else told


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
