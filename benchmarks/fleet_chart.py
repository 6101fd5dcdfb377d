"""How time and processor time of a rollout grow with the number of devices, as one SVG in docs/images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import altair as alt
import polars as pl
from scores import PERFORMANCE

FILE = PERFORMANCE.parent / "images" / "fleet-growth.svg"
_COLORS = ("#c0392b", "#888888", "#0a6ebd")
"""Of the contenders by the alphabet: Ansible's copy, ssh alone, ours."""


@dataclass(frozen=True, slots=True)
class Point:
    """One run."""

    contender: str
    devices: int
    seconds: float
    cpu_s: float


def draw(points: Sequence[Point]) -> str:
    """Write the chart; gives the line of Markdown that shows it."""
    import vl_convert

    table = pl.DataFrame([asdict(point) for point in points])
    base = (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(
            x=alt.X("devices:Q", title="devices"),
            color=alt.Color(
                "contender:N", title=None, scale=alt.Scale(range=list(_COLORS)), legend=alt.Legend(orient="top")
            ),
        )
    )
    panels = [
        base.encode(y=alt.Y(f"{field}:Q", title=title)).properties(width=300, height=220)
        for field, title in (("seconds", "seconds, start to end"), ("cpu_s", "processor seconds of the controller"))
    ]
    chart = alt.hconcat(*panels).configure(background="white", font="sans-serif")
    FILE.write_text(vl_convert.vegalite_to_svg(chart.to_dict()), encoding="utf-8")
    return f"![Time and processor time by the number of devices, ours, Ansible's and SSH's own.](images/{FILE.name})"
