"""The figures that were published for an experiment, read from data files and joined with ours."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from toolkit.artifacts import TrainedModel
from toolkit.errors import ConfigurationError
from toolkit.report.gather import Gathered, Variant

HEADS = ("sigmoid", "softmax")


@dataclass(frozen=True, slots=True)
class Test:
    """One published test result, and our model of the same network, head and stage if there is one."""

    network: str
    stage: str
    head: str
    loss: float
    accuracy: float
    ours: TrainedModel | None


@dataclass(frozen=True, slots=True)
class Inference:
    """One published measurement on the device; confidence in percent, negative where misclassified."""

    precision: str
    network: str
    stage: str
    head: str
    mask: tuple[float, float]
    """Inferences per second and confidence on the picture with a mask."""
    no_mask: tuple[float, float]
    ours: Variant | None


@dataclass(frozen=True, slots=True)
class Published:
    """All that was published for one experiment."""

    source: str
    data: str
    hardware: str
    training: str
    tests: tuple[Test, ...]
    inferences: tuple[Inference, ...]


def names() -> list[str]:
    """The experiments that published figures are known for."""
    files = resources.files("toolkit.report").joinpath("published").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load(name: str, gathered: Gathered) -> Published:
    """The published figures of `name` beside ours.

    Raises:
        ConfigurationError: there is no such table.
    """
    if name not in names():
        known = ", ".join(names())
        raise ConfigurationError(f'no published figures named "{name}"', where="published", remedy=f"known: {known}")
    content = tomllib.loads(resources.files("toolkit.report").joinpath("published", f"{name}.toml").read_text("utf-8"))
    return Published(
        source=content["source"],
        data=content["data"],
        hardware=content["hardware"],
        training=content["training"],
        tests=tuple(_tests(content["test"], gathered)),
        inferences=tuple(_inferences(content["inference"], gathered)),
    )


def _tests(rows: list[list[object]], gathered: Gathered) -> Iterator[Test]:
    ours = {(model.network, model.stage, model.head): model for model in gathered.models}
    for network, stage, *figures in rows:
        for head, loss, accuracy in zip(HEADS, figures[:2], figures[2:], strict=True):
            found = ours.get((str(network), str(stage), head))
            yield Test(str(network), str(stage), head, _figure(loss), _figure(accuracy), found)


def _inferences(rows: list[list[object]], gathered: Gathered) -> Iterator[Inference]:
    ours = {(v.ir.precision, v.model.network, v.model.stage, v.model.head): v for v in gathered.variants}
    for precision, network, stage, *figures in rows:
        values = [_figure(figure) for figure in figures]
        for head, (rate, sure, bare_rate, bare_sure) in zip(HEADS, (values[:4], values[4:]), strict=True):
            key = (str(precision), str(network), str(stage), head)
            yield Inference(*key, (rate, sure), (bare_rate, bare_sure), ours.get((key[0], key[1], key[2], head)))


def _figure(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a figure")
    return float(value)
