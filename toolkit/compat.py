"""Version knowledge from compat.toml: which OpenVINO runs where, and what each conversion target supports.

target = find_target("cpu-2022")
target.opset        # 8: a model for it uses no newer operations
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
class Generation:
    """A range of OpenVINO versions that behave alike."""

    name: str
    versions: tuple[str, str]
    """First and last, both included."""
    python: tuple[str, str]
    """First and last, both included."""
    glibc: Mapping[str, str]
    """The lowest C library per machine (as printed by `uname -m`); other machines are not supported."""
    accelerators: Mapping[str, tuple[str, ...]]
    """Per machine, as OpenVINO names them."""
    containers: tuple[int, ...]
    """IR file versions that it reads."""
    opset: int
    """The highest opset that it supports."""
    api: str
    """The Python module to import."""
    source: str
    """How it is distributed: as "wheels" or as Intel's "archive"."""
    lock: str
    """File of `requirements/` that locks the packages of devices which run it."""
    worker_python: str = ""
    """Python version of its worker process; empty if it cannot run beside the current runtime."""
    worker_wheels: tuple[tuple[str, str, str, str], ...] = ()
    """Project, version, SHA-256 and file name of each wheel that the worker process needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A runtime that models are converted for."""

    name: str
    summary: str
    generations: tuple[str, ...]
    """OpenVINO generations that must agree on a model for it."""
    precisions: tuple[str, ...]
    accelerators: tuple[str, ...]
    golden_tolerance: Mapping[str, Mapping[str, float]]
    """Per precision and accelerator: the largest allowed difference from the golden outputs."""
    runtime: str = "openvino"
    """"openvino" or "litert"; what follows is about OpenVINO."""
    container: int = 0
    """IR file version to write."""
    opset: int = 0
    """Highest opset whose operations may be used."""
    layout: str = "NHWC"
    """Order of the input's axes: "NHWC" or "NCHW"."""
    fp16_arithmetic: bool = False
    """Whether its accelerator computes in FP16, so that every layer's output must be within FP16's range."""
    moves_strides: bool = False
    """Whether strides of 1 x 1 convolutions are moved upstream because its runtime does not do so."""
    avoided: tuple[str, ...] = ()
    """Operation types of the opset that its accelerator lacks and that have a replacement."""
    compiler: str = ""
    """Module of `toolkit.convert.runtimes` whose `compile_model` has to accept models for it; empty for none."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Operation types that its compiler rejects, each with what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsuitable:
    """A precision that OpenVINO's CPU plugin must not be given on some processors."""

    machines: tuple[str, ...]
    """As printed by `uname -m`."""
    precision: str
    reason: str
    processors: tuple[str, ...] = ()
    """As the probe names them; empty for all that no row before this one names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """The content of compat.toml."""

    generations: Mapping[str, Generation]
    targets: Mapping[str, Target]
    unsuitable: tuple[Unsuitable, ...] = ()


def load(path: Path = _FILE) -> Compatibility:
    """Return the content of the file.

    Raises:
        ConfigurationError: the file has another format; names the table and key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the file cannot be read: {error}", where=str(path)) from None
    if content.get("format") != _FORMAT:
        raise ConfigurationError(f"the format is {content.get('format')}, not {_FORMAT}", where=str(path))
    generations = [
        _parse(path, f"generations[{number}]", _generation, table)
        for number, table in enumerate(_table(path, content, "generations", list))
    ]
    targets = [
        _parse(path, f"targets.{name}", _target, table | {"name": name})
        for name, table in _table(path, content, "targets", dict).items()
    ]
    unsuitable = [
        _parse(path, f"unsuitable[{number}]", _unsuitable, table)
        for number, table in enumerate(_table(path, content, "unsuitable", list))
    ]
    known = Compatibility(
        generations={each.name: each for each in generations},
        targets={target.name: target for target in targets},
        unsuitable=tuple(unsuitable),
    )
    _check_references(path, known)
    return known


@cache
def known() -> Compatibility:
    """Return the table that ships with the toolkit, read once."""
    return load()


def find_target(name: str) -> Target:
    """Return the target called `name`.

    Raises:
        ConfigurationError: there is no such target; lists the known ones.
    """
    targets = known().targets
    if name not in targets:
        raise ConfigurationError(f"there is no target {name!r}", remedy=f"choose one of {', '.join(targets)}")
    return targets[name]


def check_precision(target: Target, precision: str) -> None:
    """Check that `target` supports `precision`.

    Raises:
        ConfigurationError: it does not; says why if the table has a reason.
    """
    if precision not in target.precisions:
        why = target.refused.get("FakeQuantize", "") if precision == "int8" else ""
        raise ConfigurationError(
            f"target {target.name} does not support precision {precision!r}" + (f": {why}" if why else ""),
            remedy=f"choose one of {', '.join(target.precisions)}",
        )


def why_unsuitable(machine: str, processor: str, precision: str) -> str:
    """Return why OpenVINO's CPU plugin must not be given a precision on a processor; empty if it may.

    `processor` is the probe's name, with " + " between the kinds of cores of one processor.
    """
    cores = set(processor.split(" + "))
    for row in known().unsuitable:
        if machine in row.machines and precision == row.precision and (not row.processors or cores & {*row.processors}):
            return row.reason
    return ""


def _unsuitable(table: Mapping[str, Any]) -> Unsuitable:
    lists = {key: tuple(table.get(key, ())) for key in ("machines", "processors")}
    return Unsuitable(**{**table, **lists})


def _generation(table: Mapping[str, Any]) -> Generation:
    first, last = table["versions"]
    oldest, newest = table["python"]
    accelerators = {machine: tuple(names) for machine, names in table["accelerators"].items()}
    wheels = tuple((name, version, sha256, file) for name, version, sha256, file in table.get("worker_wheels", ()))
    parsed = {
        "versions": (first, last),
        "python": (oldest, newest),
        "accelerators": accelerators,
        "worker_wheels": wheels,
    }
    return Generation(**{**table, **parsed, "containers": tuple(table["containers"])})


def _target(table: Mapping[str, Any]) -> Target:
    lists = {key: tuple(table[key]) for key in ("generations", "precisions", "accelerators")}
    return Target(**{**table, **lists, "avoided": tuple(table.get("avoided", ()))})


def _table(path: Path, content: Mapping[str, Any], key: str, kind: type[T]) -> T:
    value = content.get(key)
    if not isinstance(value, kind):
        raise ConfigurationError(f"{key} is missing or is not a table", where=str(path))
    return value


def _parse(path: Path, where: str, make: Callable[[Mapping[str, Any]], T], table: Mapping[str, Any]) -> T:
    try:
        return make(table)
    except KeyError as error:
        raise ConfigurationError(f"{error.args[0]} is missing", where=f"{path}: {where}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"the value is invalid: {error}", where=f"{path}: {where}") from None


def _check_references(path: Path, known: Compatibility) -> None:
    for target in known.targets.values():
        place = f"{path}: targets.{target.name}"
        for name in target.generations:
            if name not in known.generations:
                raise ConfigurationError(f"there is no generation {name!r}", where=f"{place}.generations")
            if target.container not in known.generations[name].containers:
                raise ConfigurationError(
                    f"generation {name} does not read container {target.container}", where=f"{place}.container"
                )
