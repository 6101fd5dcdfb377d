"""The user's config file: defaults for options, in TOML.

Keys are the long names of options. At the top level a key holds for every command that has the option, in a table for
the command, or the commands of the group, that the table names:

    workspace = "~/cameras"
    forks = 8

    [bench]
    max-minutes = 5

    [fleet.image]
    key = "~/.ssh/pi.pub"

The command line and the environment go before the file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import typer

from toolkit.errors import ConfigurationError, Problem

VARIABLE = "TOOLKIT_CONFIG"
"""Names another file; empty: none."""
_EXCLUDED = frozenset({"help", "version", "json"})
"""Options without a default of the user's: programs that read stdout rely on it."""
_CommandLineError = cast("type[Exception]", typer.BadParameter.__mro__[1])

Entries = Mapping[str, tuple[Any, str]]
"""Values by the names of options, each with its place in the file."""


def config_file() -> Path | None:
    """Return the path of the user's config file, which may not exist; None if the environment turns it off."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE]) if os.environ[VARIABLE] else None
    from platformdirs import user_config_path

    return user_config_path("edge-vision-toolkit") / "config.toml"


def load_defaults(root: Any) -> dict[str, Any]:
    """Return the default map of a command and of those below it; empty without a config file.

    Raises:
        ConfigurationError: the file cannot be read, or has unknown keys or values that do not fit; names every one.
    """
    path = config_file()
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot be read: {error}", where=str(path)) from None
    problems: dict[Problem, None] = {}
    defaults = _defaults(root, {}, content, f"{path}: ", problems)
    if problems:
        raise ConfigurationError.from_problems(tuple(problems))
    return defaults


def _defaults(
    command: Any, inherited: Entries, table: Mapping[str, Any], where: str, problems: dict[Problem, None]
) -> dict[str, Any]:
    """Return the default map of one command: its own options by parameter, and the maps of the commands below."""
    children: dict[str, Any] = getattr(command, "commands", {})
    names = {*_names_below(command)}
    entries = {**inherited}
    for key, value in table.items():
        is_table = isinstance(value, dict)
        if key not in (children if is_table else names):
            problems[_unknown(key, children if is_table else names, where, is_table=is_table)] = None
        elif not is_table:
            entries[key] = (value, f"{where}{key}")
    defaults = {}
    for name, option in _options(command):
        if name in entries:
            defaults[option.name] = _fitting(command, option, *entries[name], problems)
    for name, child in children.items():
        own = table.get(name)
        defaults[name] = _defaults(child, entries, own if isinstance(own, dict) else {}, f"{where}{name}.", problems)
    return defaults


def _options(command: Any) -> Iterator[tuple[str, Any]]:
    for option in command.params:
        names = [name.removeprefix("--") for name in option.opts if name.startswith("--")]
        if option.param_type_name == "option" and names and names[0] not in _EXCLUDED:
            yield names[0], option


def _names_below(command: Any) -> Iterator[str]:
    yield from (name for name, _ in _options(command))
    for child in getattr(command, "commands", {}).values():
        yield from _names_below(child)


def _unknown(key: str, known: Any, where: str, *, is_table: bool) -> Problem:
    what = f"there is no command {key}" if is_table else f"there is no option --{key} to set"
    close = difflib.get_close_matches(key, known, 1)
    return Problem(what, f"{where}{key}", f"remove it, or write {close[0]}" if close else "remove it")


def _fitting(command: Any, option: Any, value: Any, where: str, problems: dict[Problem, None]) -> Any:
    """Return the value as the option takes it: lists for options that repeat, paths from the home folder."""
    if option.multiple and not isinstance(value, list):
        value = [value]
    if option.is_flag and not isinstance(value, bool):
        problems[Problem("is neither true nor false", where)] = None
        return None
    try:
        read = option.process_value(typer.Context(command), value)
    except _CommandLineError as error:
        problems[Problem(getattr(error, "message", str(error)).removeprefix("Value error, ").rstrip("."), where)] = None
        return None
    return str(read.expanduser()) if isinstance(read, Path) else value
