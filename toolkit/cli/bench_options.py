"""The options of a measurement: one for each field of BenchSpec."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from toolkit.device.bench.spec import BenchSpec

ReturnValue = TypeVar("ReturnValue")
PANEL = "Runs"


def with_bench_options(verb: Callable[..., ReturnValue]) -> Callable[..., ReturnValue]:
    """Return the verb with an option per field of BenchSpec; it gets the used ones in its parameter `settings`."""
    own = [p for p in inspect.signature(verb, eval_str=True).parameters.values() if p.name != "settings"]
    shared = [_parameter(each) for each in fields(BenchSpec)]
    names = {parameter.name for parameter in shared}

    @functools.wraps(verb)
    def wrapped(*arguments: Any, **values: Any) -> ReturnValue:
        settings = {name: values.pop(name) for name in names if name in values}
        used = {name: _plain(value) for name, value in settings.items() if value not in (None, [])}
        return verb(*arguments, settings=used, **values)

    wrapped.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]  # typer reads it
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    return wrapped


def _parameter(each: Field[Any]) -> inspect.Parameter:
    about = each.metadata
    option = typer.Option(
        about.get("flag", f"--{each.name}"),
        min=about.get("minimum"),
        metavar=about.get("metavar"),
        help=about["help"],
        rich_help_panel=PANEL,
    )
    choices = about.get("choices")
    kind: Any = (
        StrEnum(each.name, {choice.replace("-", "_"): choice for choice in choices}) if choices else about["kind"]
    )
    shown: Any = list[kind] if isinstance(each.default, tuple) else kind
    return inspect.Parameter(
        each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[shown | None, option]
    )


def _plain(value: Any) -> Any:
    """A value without the enumerations that typer chooses from."""
    if isinstance(value, list):
        return tuple(map(_plain, value))
    return value.value if isinstance(value, StrEnum) else value
