from __future__ import annotations

from dataclasses import replace

import pytest

from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.deploy.compatibility import bundle_manifest, incompatibilities
from toolkit.fleet.transfer.tree import build_tree

DEVICE = Device(name="pi-1", host="pi-1")
FACTS = DeviceFacts(
    device="pi-1",
    machine="aarch64",
    python="3.11.2",
    openvino="2026.4.1-22982-abc",
    accelerators=("CPU",),
    free_bytes=1,
    current=None,
    previous=None,
    releases=(),
)


@pytest.mark.parametrize(
    ("target", "accelerator", "openvino", "expected"),
    [
        ("cpu", "CPU", "2026.4.1-22982-abc", ()),
        ("cpu", "AUTO", "2026.4.1", ()),
        ("cpu-2022", "CPU", "2022.3.2-9279", ()),
        ("cpu-2022", "CPU", "2026.4.1", ()),
        ("ncs2", "MYRIAD", "2022.3.2", ()),
        ("ncs2", "MYRIAD.1.2-ma2480", "2022.3.1", ()),
        ("ncs2", "CPU", "2026.4.1", ()),
        ("cpu", "CPU", "2099.1.0", ()),
        ("of-another-toolkit", "CPU", "2026.4.1", ()),
        ("cpu", "MYRIAD", "2022.3.2", ("not for MYRIAD", "the device has OpenVINO 2022.3.2")),
        ("cpu", "CPU", "2022.3.2", ("the device has OpenVINO 2022.3.2",)),
        ("cpu-2022", "MYRIAD", "2022.3.2", ("not for MYRIAD",)),
    ],
)
def test_unfit_names_what_a_bundle_is_made_for(
    target: str, accelerator: str, openvino: str, expected: tuple[str]
) -> None:
    device, facts = replace(DEVICE, accelerator=accelerator), replace(FACTS, openvino=openvino)
    result = list(incompatibilities({"target": target}, device, facts))
    assert len(result) == len(expected)
    for problem, part in zip(result, expected, strict=True):
        assert part in problem.what
        assert "toolkit convert MODEL --target" in problem.remedy


@pytest.mark.parametrize(
    ("machine", "processor", "precision", "accelerator", "reason"),
    [
        ("aarch64", "Cortex-A72", "int8", "CPU", "a Cortex-A72: OpenVINO does not compile INT8"),
        ("aarch64", "Cortex-A76", "int8", "AUTO", "slower than FP16"),
        ("aarch64", "Cortex-A55 + Cortex-A76", "int8", "CPU", "slower than FP16"),
        ("aarch64", None, "int8", "CPU", "processor of aarch64: OpenVINO runs INT8"),
        ("aarch64", "Cortex-A72", "fp16", "CPU", None),
        ("x86_64", "Some CPU", "int8", "CPU", None),
    ],
)
def test_int8_is_refused_where_a_core_cannot_run_it_well(
    machine: str, processor: str | None, precision: str, accelerator: str, reason: str | None
) -> None:
    device = replace(DEVICE, accelerator=accelerator)
    facts = replace(FACTS, machine=machine, details={"processor": processor})
    problems = list(incompatibilities({"target": "cpu", "precision": precision}, device, facts))
    assert len(problems) == (reason is not None)
    for problem in problems:
        assert str(reason) in problem.what
        assert "--precision fp16" in problem.remedy


@pytest.mark.parametrize("litert", ["2.3.0", None])
def test_litert_bundle_needs_litert_and_may_be_int8_on_arm(litert: str | None) -> None:
    details = {
        "processor": "Cortex-A72",
        "litert": litert,
        "litert_error": None if litert else "ModuleNotFoundError: no",
    }
    result = list(incompatibilities({"target": "litert", "precision": "int8"}, DEVICE, replace(FACTS, details=details)))
    assert [problem.what for problem in result] == (
        []
        if litert
        else [f"the bundle is made for LiteRT, which {DEVICE.python} cannot import: ModuleNotFoundError: no"]
    )


def test_manifest_of_reads_what_is_to_be_sent() -> None:
    assert bundle_manifest(build_tree({"manifest.json": b'{"target": "cpu"}', "a": b""}))["target"] == "cpu"
    assert bundle_manifest(build_tree({"a": b""})) == {}
