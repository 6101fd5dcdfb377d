"""A device's choice among the variants of a channel: by its kind, never one that it cannot run, from whatever a statement holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.device.errors import DeviceError
from toolkit.device.release.freshness import parse_statement
from toolkit.device.runtime.variant import VariantTable, parse_variants, probe_facts, select_variant

FP16, INT8, LITERT = "a" * 64, "b" * 64, "c" * 64
PI_5 = {"processor": "Cortex-A76", "machine": "aarch64", "openvino": "2026.4.1-22982", "litert": "2.3.0"}
PI_4 = {**PI_5, "processor": "Cortex-A72"}
UNSUITABLE = {"machines": ["aarch64"], "processors": [], "openvino": [], "reason": "slower on ARM"}
OLD = {
    "machines": ["aarch64"],
    "processors": [],
    "openvino": ["2022.3.1", "2022.3.2"],
    "reason": "it is made for others",
}


def variant(release: str, name: str, **more: object) -> dict[str, object]:
    return {
        "release": release,
        "name": name,
        "runtime": "openvino",
        "accelerators": ["CPU"],
        "exclusions": [],
        **more,
    }


def choice(**more: object) -> dict[str, Any]:
    return {
        "releases": [
            variant(FP16, "fp16", exclusions=[OLD]),
            variant(INT8, "int8", exclusions=[UNSUITABLE]),
            variant(LITERT, "litert", runtime="litert"),
        ],
        "kinds": {
            "Cortex-A76, CPU": {"releases": [LITERT, FP16], "reason": "p90 4.00 ms, against 9.00 ms of fp16"},
            "Cortex-A72, CPU": {"releases": [INT8, LITERT], "reason": "p90 1.00 ms"},
        },
        **more,
    }


def table(**more: object) -> VariantTable:
    parsed = parse_variants(choice(**more))
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("facts", "accelerator", "release", "why"),
    [
        (PI_5, "CPU", LITERT, "Cortex-A76, CPU: p90 4.00 ms, against 9.00 ms of fp16"),
        ({**PI_5, "litert": None}, "CPU", FP16, "Cortex-A76, CPU: the fastest one that this device can run"),
        (PI_4, "CPU", LITERT, "Cortex-A72, CPU: the fastest one that this device can run"),
        ({**PI_4, "litert": None}, "CPU", FP16, "no variant measured on Cortex-A72, CPU runs here"),
        (PI_5, "AUTO", FP16, "no variant was measured on Cortex-A76, AUTO"),
        ({**PI_5, "processor": "Cortex-A55 + Cortex-A76"}, "CPU", FP16, "no variant was measured on Cortex-A55 + "),
        ({**PI_5, "processor": None}, "CPU", FP16, "no variant was measured on aarch64, CPU"),
    ],
)
def test_select_variant_takes_the_fastest_that_runs_there(
    facts: dict[str, Any], accelerator: str, release: str, why: str
) -> None:
    taken = select_variant(table(), facts, accelerator)
    assert (taken.release, taken.runs, taken.is_default, taken.why[: len(why)]) == (release, True, release == FP16, why)


def test_select_variant_names_why_nothing_runs() -> None:
    taken = select_variant(table(), {**PI_4, "litert": None, "openvino": "2022.3.1"}, "CPU")
    assert not taken.runs
    assert taken.why.endswith(
        "cannot run int8 (slower on ARM), nor litert (the device has no LiteRT), nor fp16 (it is made for others)"
    )
    taken = select_variant(table(), PI_5, "MYRIAD.1.2-ma2480")
    assert (taken.runs, "fp16 (it is not made for MYRIAD)" in taken.why) == (False, True)


cores = st.sampled_from(["Cortex-A53", "Cortex-A72", "Cortex-A76", None])
versions = st.sampled_from(["2026.4.1-1", "2022.3.2", "2022.3", "x", None])


@given(cores, versions, st.sampled_from([None, "2.3"]), st.sampled_from(["CPU", "AUTO", "MYRIAD"]))
def test_select_variant_never_takes_what_the_device_cannot_run(
    processor: str | None, openvino: str | None, litert: str | None, accelerator: str
) -> None:
    facts = {"processor": processor, "machine": "aarch64", "openvino": openvino, "litert": litert}
    taken = select_variant(table(), facts, accelerator)
    (own,) = [each for each in table().variants if each.release == taken.release]
    assert taken.runs == (not own.why_not(facts, accelerator))
    assert taken.runs or taken.is_default
    assert not (taken.runs and taken.release == INT8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"releases": []},
        {"releases": [variant(FP16, "fp16")] * 2},
        {"releases": [variant(f"{number:064x}", "x") for number in range(17)], "kinds": {}},
        {"releases": [variant("../../etc", "x")]},
        {"releases": [variant(FP16, "x" * 401)]},
        {"releases": [variant(FP16, "x", runtime="__class__")]},
        {"releases": [variant(FP16, "x", runtime=["openvino"])]},
        {"releases": [variant(FP16, "x", accelerators="CPU")]},
        {"releases": [variant(FP16, "x", exclusions=[{**OLD, "openvino": ["2022.1"]}])]},
        {"kinds": []},
        {"kinds": {"x": {"releases": [], "reason": ""}}},
        {"kinds": {"x": {"releases": ["d" * 64], "reason": ""}}},
        {"kinds": {"x": {"releases": [FP16], "reason": 5}}},
        {"kinds": {str(number): {"releases": [FP16], "reason": ""} for number in range(201)}},
    ],
)
def test_statement_with_variants_that_are_not_valid(wrong: dict[str, object]) -> None:
    with pytest.raises(DeviceError, match="has variants that are not valid"):
        parse_statement(statement({**choice(), **wrong}), "channel")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["releases", "kinds", "release", "name"]), v),
    )
)
def test_parse_statement_refuses_any_other_variants(value: object) -> None:
    if value is not None:
        with pytest.raises(DeviceError, match="variants that are not valid"):
            parse_statement(statement(value), "channel")


def test_default_variant_must_be_the_release_of_the_statement() -> None:
    assert parse_statement(statement(choice()), "channel").releases == (FP16, INT8, LITERT)
    with pytest.raises(DeviceError, match="a default variant that is not its release"):
        parse_statement(statement(choice(), release=INT8), "channel")


def test_facts_are_those_of_the_interpreter_of_releases(tmp_path: Path) -> None:
    facts = probe_facts(sys.executable, tmp_path)
    assert (facts["root"], bool(facts["openvino"])) == (str(tmp_path), True)
    with pytest.raises(DeviceError, match="its facts cannot be read"):
        probe_facts("/bin/false", tmp_path)


def statement(variants: object, release: str = FP16) -> bytes:
    fields = {"format": 1, "channel": "x", "counter": 1, "release": release, "created": 0, "expires": 1}
    return json.dumps({**fields, "variants": variants}).encode()
