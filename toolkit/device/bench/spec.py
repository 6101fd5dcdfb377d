"""Specification of all benchmark options.

A field here is an argument of the device's `bench` command, an option of `toolkit bench`, a key of an experiment's
table [bench], and a setting that records repeat and exports list.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Optional, Tuple

from ..errors import DeviceError

ACCURACY, SINGLE_STREAM, OFFLINE = "accuracy", "single-stream", "offline"
SCENARIOS = (SINGLE_STREAM, OFFLINE, ACCURACY)
FULL_SECONDS = 60.0
FULL_QUERIES = 1024
"""Limits below which a run is marked "quick" and not compared with full ones (bench rule 2)."""


def _option(default: Any, kind: Any, text: str, **more: Any) -> Any:
    """Return a field of type `kind`, bounded by `minimum` and `choices`; `toolkit bench` shows `flag` and `metavar`."""
    return field(default=default, metadata={"kind": kind, "help": text, "per_run": True, **more})


@dataclass(frozen=True)
class BenchSpec:
    """Options of a benchmark; None leaves the choice to the runtime on the device.

    Raises:
        ValueError: a value is out of bounds.
    """

    scenarios: Tuple[str, ...] = _option(
        (SINGLE_STREAM, OFFLINE),
        str,
        "Scenario to measure; repeatable. The accuracy pass always runs. Default: all.",
        choices=SCENARIOS,
        flag="--scenario",
        per_run=False,
    )
    seconds: float = _option(
        FULL_SECONDS,
        float,
        "Minimum length of a run; below 60 it is quick. Default: 60.",
        minimum=0.1,
        metavar="SECONDS",
    )
    queries: int = _option(
        FULL_QUERIES,
        int,
        "Minimum queries of a single-stream run; below 1,024 it is quick. Default: 1024.",
        minimum=1,
        flag="--min-queries",
        metavar="N",
    )
    cool_down_s: float = _option(
        0.0,
        float,
        "Pause before each run but the first. Default: 0.",
        minimum=0.0,
        flag="--cool-down",
        metavar="SECONDS",
        per_run=False,
    )
    seed: int = _option(0, int, "Seed of the order of images. Default: 0.", metavar="N")
    threads: Optional[int] = _option(
        None, int, "Inference threads. Default: the runtime's choice.", minimum=1, metavar="N"
    )
    streams: Optional[int] = _option(
        None, int, "Inference streams. Default: the runtime's choice.", minimum=1, metavar="N"
    )
    precision: Optional[str] = _option(
        None,
        str,
        "Number format to compute in. Default: the accelerator's choice.",
        choices=("f32", "f16", "bf16"),
    )
    clock: str = _option(
        "total",
        str,
        "What a latency covers; total: decoding, resizing and inference. Default: total.",
        choices=("total", "inference"),
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            value, about = getattr(self, each.name), each.metadata
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            for one in values:
                if one not in about.get("choices", (one,)):
                    raise ValueError(f"{each.name} must be one of {', '.join(about['choices'])}")
                if "minimum" in about and not about["minimum"] <= one < float("inf"):
                    raise ValueError(f"{each.name} must be finite and at least {about['minimum']:g}")

    def run_options(self) -> Dict[str, Any]:
        """Return the options of each run on the device."""
        return {each.name: getattr(self, each.name) for each in _per_run()}


@dataclass(frozen=True)
class RunOptions:
    """One run: its scenario, accelerator and options."""

    scenario: str
    accelerator: str
    spec: BenchSpec

    def settings(self) -> Dict[str, Any]:
        """Return the settings that a record repeats."""
        return {"scenario": self.scenario, "accelerator": self.accelerator, **self.spec.run_options()}

    def to_argv(self) -> List[str]:
        """Return the arguments of the device's `bench` command."""
        return [f"--{name}={value}" for name, value in self.settings().items() if value is not None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `to_argv` to a parser."""
    parser.add_argument("--scenario", required=True, choices=SCENARIOS)
    for each in _per_run():
        about = each.metadata
        parser.add_argument(
            f"--{each.name}", type=about["kind"], choices=about.get("choices"), default=each.default, help=about["help"]
        )


def parse_arguments(options: argparse.Namespace) -> RunOptions:
    """Return the run for parsed arguments.

    Raises:
        DeviceError: an option is out of bounds.
    """
    try:
        spec = BenchSpec(**{each.name: getattr(options, each.name) for each in _per_run()})
    except ValueError as error:
        raise DeviceError(str(error)) from None
    return RunOptions(options.scenario, options.accelerator, spec)


def _per_run() -> List[Any]:
    return [each for each in fields(BenchSpec) if each.metadata["per_run"]]
