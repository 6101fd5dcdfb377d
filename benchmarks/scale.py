"""How time and memory grow with the work: bench records, images, classes, devices.

`just bench scale [SUBJECT ...] [--largest N]`. Each size is measured in a process of its own; what it wrote is removed.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import altair as alt
import polars as pl
from scores import PERFORMANCE, Score, conclude

MOST = 1.1
"""The exponent that counts as linear within noise."""
LEAST = 0.25
"""A smaller exponent is one of noise: it is shown as this one."""
NOISE_S, NOISE_MIB = 0.05, 8.0
"""What a process differs by without work to do; less growth than this from the least to the largest size is none."""
SIZES = {
    "records": (100, 1_000, 10_000, 100_000, 1_000_000),
    "images": (100, 1_000, 10_000, 100_000),
    "classes": (2, 10, 100, 1_000),
    "devices": (1, 10, 100, 1_000, 10_000),
}
METHOD = (
    "`just bench scale`: the exponent k of cost = a x size^k, by least squares of the logarithms of the three largest sizes; "
    "2 would be quadratic. Each size runs in a process of its own. Time is that of the processor, child processes included; "
    "memory is the growth of the peak, and counts as constant below 8 MiB. records: bench records of 64 samples are stored "
    "one by one and all read by bundle. images: `prepare_dataset` lists, checks and splits images of 16 x 16 pixels. classes: "
    "metrics of 10,000 images. devices: an inventory is read, and the status of every device and the plan of a rollout to "
    "all; the devices answer from memory. The yardstick is the goal: exponents up to 1.1.\n\n{table}"
)


@dataclass(frozen=True, slots=True)
class Point:
    """The cost of one size."""

    subject: str
    size: int
    seconds: float
    mebibytes: float


def measure(subject: str, size: int) -> Point:
    """Measure one size."""
    program = Path(__file__).with_name("scale_step.py")
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        done = subprocess.run(
            [sys.executable, program, subject, str(size), folder], capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(done.stderr)
    cost = json.loads(done.stdout.splitlines()[-1])
    print(f"  {subject} {size:,}: {cost['seconds']:.2f} s, {cost['mebibytes']:.0f} MiB", file=sys.stderr)
    return Point(subject, size, **cost)


def exponent(sizes: Sequence[int], costs: Sequence[float], noise: float) -> float:
    """The slope of the costs over the sizes in logarithms, of the three largest sizes; 0 if they hardly grow."""
    if max(costs) - min(costs) < noise:
        return 0.0
    x = [math.log(size) for size in sizes[-3:]]
    y = [math.log(max(cost, noise)) for cost in costs[-3:]]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((one - middle_x) ** 2 for one in x)
    return sum((one - middle_x) * (other - middle_y) for one, other in zip(x, y, strict=True)) / spread


def scores(points: Sequence[Point]) -> list[Score]:
    """Time and memory of one subject."""
    sizes, last = [point.size for point in points], points[-1]
    result = []
    for field, noise, shown in (
        ("seconds", NOISE_S, f"{last.seconds:.1f} s"),
        ("mebibytes", NOISE_MIB, f"{last.mebibytes:.0f} MiB"),
    ):
        power = exponent(sizes, [getattr(point, field) for point in points], noise)
        what = "time" if field == "seconds" else "memory"
        ours = f"{power:.2f} ({shown} for {last.size:,})"
        result.append(Score(f"scale.{last.subject}.{what}", MOST / max(power, LEAST), 1.0, ours, f"{MOST}"))
    return result


def draw(points: Sequence[Point]) -> str:
    """Write a chart per subject; return the Markdown that shows them."""
    import vl_convert

    lines = []
    for subject in dict.fromkeys(point.subject for point in points):
        table = pl.DataFrame([asdict(point) for point in points if point.subject == subject])
        base = (
            alt.Chart(table).mark_line(point=True).encode(x=alt.X("size:Q", title=subject, scale=alt.Scale(type="log")))
        )
        panels = [
            base.encode(y=alt.Y(f"{field}:Q", title=title, scale=alt.Scale(type=kind))).properties(
                width=300, height=200
            )
            for field, title, kind in (
                ("seconds", "processor seconds", "log"),
                ("mebibytes", "MiB of memory above the start", "symlog"),
            )
        ]
        chart = alt.hconcat(*panels).configure(background="white", font="sans-serif")
        file = PERFORMANCE.parent / "images" / f"scale-{subject}.svg"
        file.write_text(vl_convert.vegalite_to_svg(chart.to_dict()), encoding="utf-8")
        lines.append(f"![Time and memory by the number of {subject}.](images/{file.name})")
    return "\n\n".join(lines)


def table(points: Sequence[Point]) -> str:
    """Every measurement as a Markdown table."""
    rows = "\n".join(f"| {p.subject} | {p.size:,} | {p.seconds:.2f} | {p.mebibytes:.0f} |" for p in points)
    return f"| of | size | seconds | MiB |\n|---|---|---|---|\n{rows}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"only these: {', '.join(SIZES)}")
    parser.add_argument("--largest", type=int, metavar="N", help="leave out larger sizes")
    parser.add_argument("--no-keep", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args(arguments)
    if strangers := set(options.subjects) - set(SIZES):
        parser.error(f"no subject {', '.join(sorted(strangers))}; there are {', '.join(SIZES)}")
    points: list[Point] = []
    results: list[Score] = []
    for subject in options.subjects or SIZES:
        sizes = [size for size in SIZES[subject] if options.largest is None or size <= options.largest]
        own = [measure(subject, size) for size in sizes]
        points += own
        results += scores(own)
    keep = not (options.no_keep or options.subjects)
    method = METHOD.format(table=table(points) + ("\n\n" + draw(points) if keep else ""))
    return conclude("scale", "Cost as work grows", method, results, keep=keep)


if __name__ == "__main__":
    sys.exit(main())
