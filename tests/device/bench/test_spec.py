from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import TypeAdapter, ValidationError

from toolkit.device.bench.spec import BenchSpec, RunOptions, add_arguments, parse_arguments
from toolkit.device.errors import DeviceError

SPECS = some.builds(
    BenchSpec,
    seconds=some.floats(0.1, 1e4),
    queries=some.integers(1, 10**6),
    seed=some.integers(-9, 10**9),
    threads=some.none() | some.integers(1, 64),
    streams=some.none() | some.integers(1, 64),
    precision=some.sampled_from([None, "f32", "f16", "bf16"]),
    clock=some.sampled_from(["total", "inference"]),
)


def parse(arguments: list[str]) -> RunOptions:
    parser = argparse.ArgumentParser()
    parser.add_argument("--accelerator")
    add_arguments(parser)
    return parse_arguments(parser.parse_args(arguments))


@given(SPECS)
def test_arguments_are_parsed_back_to_the_same_run(spec: BenchSpec) -> None:
    run = RunOptions("offline", "CPU", spec)
    assert parse(run.to_argv()) == run


def test_arguments_leave_out_what_is_the_runtimes_choice() -> None:
    arguments = RunOptions("offline", "CPU", BenchSpec(streams=2)).to_argv()
    assert "--streams=2" in arguments
    assert not any(each.startswith(("--threads", "--precision")) for each in arguments)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seconds": 0.0}, "seconds must be finite and at least 0.1"),
        ({"seconds": float("nan")}, "seconds must be finite"),
        ({"queries": 0}, "queries must be finite and at least 1"),
        ({"clock": "wall"}, "clock must be one of total, inference"),
        ({"scenarios": ("server",)}, "scenarios must be one of single-stream, offline, accuracy"),
    ],
)
def test_spec_refuses_values_out_of_bounds(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BenchSpec(**values)
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(BenchSpec).validate_python(values)


def test_parse_arguments_reports_values_out_of_bounds() -> None:
    with pytest.raises(DeviceError, match="threads must be finite and at least 1"):
        parse(["--scenario=offline", "--accelerator=CPU", "--threads=0"])


def test_every_option_says_what_it_is() -> None:
    assert all(each.metadata["help"].endswith((".", "total.")) for each in fields(BenchSpec))
    assert replace(BenchSpec(), seconds=1).run_options()["seconds"] == 1
