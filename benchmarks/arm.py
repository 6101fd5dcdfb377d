"""How many instructions an inference takes on a Raspberry Pi 4's and 5's cores, which are emulated here: never how long.

Each variant runs by the device's own code under QEMU's user emulation, on one thread. What one inference takes is the difference
of the counts of two and of one, after two that are not counted: loading is not in it. Its answer is compared with that of the same
file on this machine. Counts are stored by the bytes that they depend on, so a run that was stopped goes on where it was; --stored shows them.

--clock checks the counts against the clock of a whole emulated machine that counts instructions, and writes a table of its own.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import arm_models
import numpy as np
from arm_emulator import CORES, Count, count, prepare
from arm_machine import clock_instructions
from scores import Score, conclude

from toolkit import compat, files, hashing

F32, DEFAULT, FLOAT, FAST = "openvino-fp32", "openvino-fp16", "litert-fp32", "litert-int8"
VARIANTS = {F32: "f32", DEFAULT: None, "openvino-int8": None, FLOAT: None, FAST: None}
"""Each variant's name, and the precision it computes in: None is the runtime's choice."""
GOALS = {
    ("cortex-a72", F32): 1 / 0.90,
    ("cortex-a72", FLOAT): 1 / 0.95,
    ("cortex-a76", F32): 1 / 0.45,
    ("cortex-a76", DEFAULT): 1 / 0.80,
    ("cortex-a76", FLOAT): 1 / 0.45,
}
YARDSTICKS = {F32: "f32", DEFAULT: "default", FLOAT: "litert"}
CORRELATION = 0.99
NOTHING_COMPUTED = ("Const", "Input", "Output", "Reshape", "Transpose", "Convert")
"""OpenVINO's layers that copy at most."""
METHOD = (
    "`just bench arm`: millions of instructions for one inference on one thread, counted by a plugin of QEMU's user "
    "emulation; they are no measure of time. Random weights, {sizes}, 1,000 classes, u8 images as input. OpenVINO "
    "runs the FP32 variant with f32 as its inference precision; the other variants run as their runtime chooses. "
    "agrees: correlation with the answer of the same file on x86-64, and whether the most probable class is the same. "
    "precision: as the device code reports it. kernels: number of layers by kernel, as OpenVINO names it; for LiteRT, "
    "XNNPACK or the built-in kernels for what XNNPACK does not support. The ratios are those of LiteRT INT8. Goals: "
    "at most 0.45 of OpenVINO in f32 and 0.80 of its default on a Cortex-A76 (Pi 5), and 0.90 of f32 on a Cortex-A72 "
    "(Pi 4); of LiteRT's own FP32, 0.45 and 0.95. answers: share of the variants that `toolkit deploy` would send to "
    "that core which run and agree. Rows that are missing have not been counted yet."
)
CLOCK_METHOD = (
    "`just bench arm --clock`: the plugin's count of one inference against the clock of a whole machine, emulated by QEMU 10 "
    "with `-icount shift=0`, where a nanosecond is an instruction. The two share the model and the program, but neither "
    "emulator nor kernel nor way of counting; the machine's includes timer interrupts. {sizes}. The goal is a difference "
    "of at most one percent."
)


@dataclass(frozen=True)
class Row:
    """A variant of a network on a core."""

    network: str
    variant: str
    core: str
    count: Count
    correlation: float = 0.0
    same_top1: bool = False

    @property
    def offered(self) -> bool:
        """Whether deployments to this core take it."""
        runtime, _, precision = self.variant.partition("-")
        return runtime != "openvino" or not compat.why_unsuitable("aarch64", core_name(self.core), precision)

    @property
    def agrees(self) -> bool:
        """Whether it ran and answers as on this machine."""
        return not self.count.failure and self.same_top1 and self.correlation >= CORRELATION


def core_name(core: str) -> str:
    """The probe's name of a core: "Cortex-A72" for QEMU's "cortex-a72"."""
    return core.replace("cortex-a", "Cortex-A")


def measure(network: str, size: int, variant: str, core: str, *, only_stored: bool = False) -> Row | None:
    """Count a variant on a core and compare its answer; None if there is none and `only_stored` is set."""
    folder = models(network, size)
    model = model_file(folder / variant)
    result = count(prepare(), core, model, folder / "input.npy", VARIANTS[variant], only_stored=only_stored)
    if result is None:
        return None
    if result.failure:
        row = Row(network, variant, core, result)
    else:
        expected, answer = np.load(folder / f"{variant}.npy"), np.array(result.answer)
        same = bool(expected.argmax() == answer.argmax())
        row = Row(network, variant, core, result, float(np.corrcoef(expected, answer)[0, 1]), same)
    print("  " + " | ".join(cells(row)), file=sys.stderr, flush=True)
    return row


def model_file(folder: Path) -> Path:
    """A variant's model."""
    return next(path for path in folder.iterdir() if path.suffix in (".xml", ".tflite"))


@functools.cache
def models(network: str, size: int) -> Path:
    """The folder with a network's variants, made the first time."""
    from toolkit.convert import tflite_writer
    from toolkit.convert.reference import versions

    code = hashing.sha256_file(Path(arm_models.__file__))
    key = hashing.sha256_json([network, size, code, dict(versions()), tflite_writer.versions()])[:16]
    folder = prepare().parent / f"models-{key}"
    if not folder.exists():
        print(f"  {network}: converting", file=sys.stderr, flush=True)
        with files.part_folder(folder.parent) as partial:
            (partial / "new").mkdir()
            arm_models.write_variants(network, size, partial / "new")
            (partial / "new").rename(folder)
    return folder


def scores(rows: Sequence[Row]) -> list[Score]:
    """LiteRT INT8 against its yardsticks on each core, where both ran; and the variants whose answers are right."""
    by_name = {(row.network, row.core, row.variant): row.count.instructions for row in rows if not row.count.failure}
    result = []
    for network in dict.fromkeys(row.network for row in rows):
        for (core, baseline), goal in GOALS.items():
            ours, theirs = by_name.get((network, core, FAST)), by_name.get((network, core, baseline))
            if ours and theirs:
                name = f"arm.{network.lower()}.{core[-3:]}.{YARDSTICKS[baseline]}"
                result.append(Score(name, theirs / ours, goal, millions(ours), millions(theirs)))
    offered = [row for row in rows if row.offered]
    right = sum(row.agrees for row in offered)
    return [*result, Score("arm.answers", right / len(offered), 1.0, f"{right} variants", f"{len(offered)} variants")]


def clock_score(network: str, size: int, row: Row) -> Score:
    """A counted variant against the clock of a machine with the same core."""
    folder = models(network, size)
    model = model_file(folder / row.variant)
    clock = clock_instructions(prepare(), row.core, model, folder / "input.npy", VARIANTS[row.variant])
    counted = row.count.instructions
    name = f"arm-clock.{network.lower()}.{row.core[-3:]}.{row.variant}"
    return Score(name, min(clock, counted) / max(clock, counted), 0.99, millions(counted), millions(clock))


def millions(instructions: int) -> str:
    """Instructions for people."""
    return f"{instructions / 1e6:,.1f} M"


def cells(row: Row) -> list[str]:
    """A row of the table."""
    start = [row.network, core_name(row.core), row.variant.replace("-", " ")]
    if row.count.failure:
        return [*start, "none", "", "", f"fails: {row.count.failure.rpartition(': ')[2]}", ""]
    multiplications = row.count.multiplications or {}
    most = ", ".join(f"{kind} {millions(total)}" for kind, total in ranked(Counter(multiplications)) if total > 10_000)
    agrees = f"{row.correlation:.4f}, {'same' if row.same_top1 else 'other'} class"
    return [*start, millions(row.count.instructions), row.count.precision, agrees, kernels(row), most]


def kernels(row: Row) -> str:
    """The kernels of the layers that compute, the most frequent first."""
    names = Counter(kernel for layer, kernel in row.count.kernels if layer not in NOTHING_COMPUTED)
    text = ", ".join(f"{number} {kernel}" for kernel, number in ranked(names)[:4])
    built_in = sorted({layer for layer, kernel in row.count.kernels if kernel.startswith("built-in")})
    return f"{text} ({', '.join(built_in)})" if built_in else text


def ranked(counter: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent first, ties by name."""
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))


def describe_sizes(sizes: dict[str, int]) -> str:
    """The networks with their image sizes, for people."""
    return ", ".join(f"{network} at {size} pixels" for network, size in sizes.items())


def table(rows: Sequence[Row]) -> str:
    """All rows in Markdown."""
    head = ["network", "core", "variant", "instructions", "precision", "agrees", "kernels", "multiplications"]
    lines = [head, ["---"] * len(head), *map(cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, print, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", action="append", choices=arm_models.SIZES, help="default: all")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="default: all")
    parser.add_argument("--core", action="append", choices=CORES, help="default: both")
    parser.add_argument("--size", type=int, help="image size; default: the network's own")
    parser.add_argument("--check", action="store_true", help="leave docs/performance.md as it is")
    parser.add_argument("--stored", action="store_true", help="show what earlier runs counted, and count nothing")
    parser.add_argument("--clock", action="store_true", help="check the counts by the clock of an emulated machine")
    options = parser.parse_args(arguments)
    networks = options.network or list(arm_models.SIZES)
    sizes = {network: options.size or arm_models.SIZES[network] for network in networks}
    measured = [
        measure(network, size, variant, core, only_stored=options.stored)
        for network, size in sizes.items()
        for variant in options.variant or VARIANTS
        for core in options.core or CORES
    ]
    rows = [row for row in measured if row]
    if options.clock:
        checked = [clock_score(row.network, sizes[row.network], row) for row in rows if not row.count.failure]
        method = CLOCK_METHOD.format(sizes=describe_sizes(sizes))
        return conclude("arm-clock", "Instructions by a machine's clock", method, checked, keep=not options.check)
    method = f"{METHOD.format(sizes=describe_sizes(sizes))}\n\n{table(rows)}"
    return conclude("arm", "Instructions on ARM cores", method, scores(rows), keep=not options.check)


if __name__ == "__main__":
    sys.exit(main())
