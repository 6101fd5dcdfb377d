"""Version knowledge from compat.toml: which OpenVINO runs where, and what each conversion target supports.

target = find_target("cpu-2022")
target.opset        # 8: a model for it uses no newer operations
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from toolkit.errors import ConfigurationError, Problem

_FILE = Path(__file__).with_name("compat.toml")
_FORMAT = 1
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
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


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Unsuitable:
    """A precision that OpenVINO's CPU plugin must not be given on some processors."""

    machines: tuple[str, ...]
    """As printed by `uname -m`."""
    precision: str
    reason: str
    processors: tuple[str, ...] = ()
    """As the probe names them; empty for all that no row before this one names."""


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Compatibility:
    """The content of compat.toml, its generations and targets by name."""

    generations: Mapping[str, Generation]
    targets: Mapping[str, Target]
    unsuitable: tuple[Unsuitable, ...] = ()


_CONTENT = TypeAdapter(Compatibility)


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
    tables = {key: value for key, value in content.items() if key != "format"}
    try:
        targets = {name: {**table, "name": name} for name, table in tables["targets"].items()}
        generations = {table["name"]: table for table in tables["generations"]}
        known = _CONTENT.validate_python({**tables, "targets": targets, "generations": generations})
    except ValidationError as error:
        problems = [
            Problem(each["msg"], f"{path}: {'.'.join(str(part) for part in each['loc'])}") for each in error.errors()
        ]
        raise ConfigurationError.from_problems(problems) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"a table is missing or has another form: {error!r}", where=str(path)) from None
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
