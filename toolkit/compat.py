"""Version knowledge, read from compat.toml: which OpenVINO runs where, and what each conversion target can take.

target = find_target("ncs2")
target.opset        # 6: nothing newer may be left in a model for it
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from toolkit.errors import ConfigurationError

T = TypeVar("T")

_FILE = Path(__file__).with_name("compat.toml")
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """A span of OpenVINO versions that behave alike."""

    name: str
    versions: tuple[str, str]
    """First and last, both included."""
    python: tuple[str, str]
    """First and last, both included."""
    glibc: Mapping[str, str]
    """The lowest C library per machine (as `uname -m` says it); machines that are not here are not served."""
    accelerators: Mapping[str, tuple[str, ...]]
    """Per machine: "CPU", "MYRIAD"."""
    containers: tuple[int, ...]
    """The IR file versions it reads."""
    opset: int
    """The highest it knows."""
    api: str
    """The Python module to import."""
    source: str
    """Where it comes from: "wheels" or Intel's "archive"."""
    worker_python: str = ""
    """The Python that its worker process runs on; empty if there is none to run beside the current runtime."""
    worker_wheels: tuple[tuple[str, str, str, str], ...] = ()
    """Project, version, SHA-256 and file of each wheel the worker process needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a model is converted for."""

    name: str
    summary: str
    eras: tuple[str, ...]
    """The runtimes that must agree on a model for it."""
    container: int
    """The IR file version to write."""
    opset: int
    """The highest opset whose operations may be in it."""
    precisions: tuple[str, ...]
    accelerators: tuple[str, ...]
    golden_tolerance: Mapping[str, Mapping[str, float]]
    """Per precision and accelerator: how far a device's probabilities may be from the golden ones."""
    layout: str = "NHWC"
    """The order of the input's axes: "NHWC" or "NCHW"."""
    moves_strides: bool = False
    """Whether strides of 1 x 1 convolutions are moved upstream, because its runtime does not do it."""
    avoided: tuple[str, ...] = ()
    """Operation types within the opset that its accelerator lacks, and that have another form."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Operation types that its compiler turns down, each with what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """All of compat.toml."""

    eras: Mapping[str, Era]
    targets: Mapping[str, Target]


def load(path: Path = _FILE) -> Compatibility:
    """Read the table.

    Raises:
        ConfigurationError: the file is not what this version of the toolkit reads; names the table and key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"cannot be read: {error}", where=str(path)) from None
    if content.get("format") != _FORMAT:
        raise ConfigurationError(f"format is {content.get('format')}, not {_FORMAT}", where=str(path))
    eras = [
        _made(path, f"eras[{number}]", _era, table) for number, table in enumerate(_part(path, content, "eras", list))
    ]
    targets = [
        _made(path, f"targets.{name}", _target, table | {"name": name})
        for name, table in _part(path, content, "targets", dict).items()
    ]
    known = Compatibility(eras={era.name: era for era in eras}, targets={target.name: target for target in targets})
    _check_references(path, known)
    return known


@cache
def known() -> Compatibility:
    """The table that ships with the toolkit, read once."""
    return load()


def find_target(name: str) -> Target:
    """The target called `name`.

    Raises:
        ConfigurationError: there is none; lists those there are.
    """
    targets = known().targets
    if name not in targets:
        raise ConfigurationError(f"no target is called {name!r}", remedy=f"one of: {', '.join(targets)}")
    return targets[name]


def check_precision(target: Target, precision: str) -> None:
    """See that `target` takes `precision`.

    Raises:
        ConfigurationError: it does not; says why where the table knows.
    """
    if precision not in target.precisions:
        why = target.refused.get("FakeQuantize", "") if precision == "int8" else ""
        raise ConfigurationError(
            f"target {target.name} does not take precision {precision!r}" + (f": {why}" if why else ""),
            remedy=f"one of: {', '.join(target.precisions)}",
        )


def _era(table: Mapping[str, Any]) -> Era:
    first, last = table["versions"]
    oldest, newest = table["python"]
    accelerators = {machine: tuple(names) for machine, names in table["accelerators"].items()}
    wheels = tuple((name, version, sha256, file) for name, version, sha256, file in table.get("worker_wheels", ()))
    changed = {
        "versions": (first, last),
        "python": (oldest, newest),
        "accelerators": accelerators,
        "worker_wheels": wheels,
    }
    return Era(**{**table, **changed, "containers": tuple(table["containers"])})


def _target(table: Mapping[str, Any]) -> Target:
    lists = {key: tuple(table[key]) for key in ("eras", "precisions", "accelerators")}
    return Target(**{**table, **lists, "avoided": tuple(table.get("avoided", ()))})


def _part(path: Path, content: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = content.get(key)
    if not isinstance(value, kind):
        raise ConfigurationError(f"{key} is missing or not a table", where=str(path))
    return value


def _made(path: Path, where: str, make: Callable[[Mapping[str, Any]], T], table: Mapping[str, Any]) -> T:
    try:
        return make(table)
    except KeyError as error:
        raise ConfigurationError(f"{error.args[0]} is missing", where=f"{path}: {where}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"not as it should be: {error}", where=f"{path}: {where}") from None


def _check_references(path: Path, known: Compatibility) -> None:
    for target in known.targets.values():
        for era in target.eras:
            if era not in known.eras:
                raise ConfigurationError(f"no era is called {era!r}", where=f"{path}: targets.{target.name}.eras")
            if target.container not in known.eras[era].containers:
                raise ConfigurationError(
                    f"era {era} reads no container {target.container}", where=f"{path}: targets.{target.name}.container"
                )
