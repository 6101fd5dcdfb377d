"""What `just bench arm` counts by, without an emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import arm_emulator
from benchmarks.arm_guest import in_delegates, litert_kernels
from toolkit.compat import why_unsuitable
from toolkit.device import probe


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        (0x4E829420, "sdot"),  # sdot v0.4s, v1.16b, v2.16b
        (0x4F82E020, "sdot"),  # sdot v0.4s, v1.16b, v2.4b[0]
        (0x0E628020, "smlal"),  # smlal v0.4s, v1.4h, v2.4h
        (0x0F622020, "smlal"),  # smlal v0.4s, v1.4h, v2.h[2]
        (0x4E22CC20, "fmla f32"),  # fmla v0.4s, v1.4s, v2.4s
        (0x4F821020, "fmla f32"),  # fmla v0.4s, v1.4s, v2.s[0]
        (0x4E420C20, "fmla f16"),  # fmla v0.8h, v1.8h, v2.8h
        (0x4F021020, "fmla f16"),  # fmla v0.8h, v1.8h, v2.h[0]
        (0x4E22D420, ""),  # fadd v0.4s, v1.4s, v2.4s
        (0x8B020020, ""),  # add x0, x1, x2
    ],
)
def test_instruction_kind_of_encodings(word: int, kind: str) -> None:
    assert arm_emulator.instruction_kind(word) == kind


def test_counts_multiply_runs_by_instructions(tmp_path: Path) -> None:
    (tmp_path / "count.1").write_text("4000 3 4e8294208b020020\n8000 2 4e22cc20\n")
    counts = arm_emulator.multiply(tmp_path / "count.1")
    assert counts == {"": 8, "sdot": 3, "fmla f32": 2}


class _Interpreter:
    """Three layers; a delegate computes the last two."""

    operations = (
        {"index": 0, "op_name": "CAST", "inputs": [0], "outputs": [1]},
        {"index": 1, "op_name": "CONV_2D", "inputs": [1, 8], "outputs": [2]},
        {"index": 2, "op_name": "SOFTMAX", "inputs": [2], "outputs": [3]},
    )
    delegate = ({"index": 3, "op_name": "DELEGATE", "inputs": [1, 8], "outputs": [3]},)

    def __init__(self, *, delegated: bool) -> None:
        self._delegated = delegated

    def _get_ops_details(self) -> list[dict[str, object]]:
        return [*self.operations, *(self.delegate if self._delegated else ())]

    def get_tensor_details(self) -> list[dict[str, object]]:
        return [{"index": index, "dtype": "uint8" if index == 0 else "int8"} for index in (0, 1, 2, 3, 8)]


def test_layers_outside_a_delegate_are_built_in() -> None:
    assert litert_kernels(_Interpreter(delegated=True)) == [
        ["CAST", "built-in_uint8"],
        ["CONV_2D", "xnnpack_int8"],
        ["SOFTMAX", "xnnpack_int8"],
    ]
    kernels = litert_kernels(_Interpreter(delegated=False))
    assert [kernel for _, kernel in kernels] == ["built-in_uint8", "built-in_int8", "built-in_int8"]
    assert in_delegates(list(_Interpreter.operations), []) == set()


@pytest.mark.parametrize("core", arm_emulator.CORES.values(), ids=arm_emulator.CORES)
def test_cores_are_named_as_compat_names_them(core: arm_emulator.Core) -> None:
    part = core.cpuinfo.partition("CPU part\t: ")[2].splitlines()[0]
    name = probe.ARM_CORES[part]
    assert name.lower() == core.name
    assert why_unsuitable("aarch64", name, "int8")
    assert int(core.midr, 16) >> 4 & 0xFFF == core.part
