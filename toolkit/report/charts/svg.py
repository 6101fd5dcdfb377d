"""From a Vega-Lite specification to inline SVG that takes its colors and fonts from the page.

Charts are drawn with sentinel colors, which become CSS variables here: one drawing serves the light and the dark theme
and paper. Marks that carry a description get it as a <title>, shown on hover. The result is byte-stable.
"""

from __future__ import annotations

import re
from typing import Any, Literal

INK, MUTED, RULE, CARD = "#010101", "#010102", "#010103", "#010104"
SERIES = tuple(f"#02020{n}" for n in range(1, 9))
"""One per network; charts with more networks start over."""

_VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    CARD: "var(--card)",
} | {sentinel: f"var(--s{n})" for n, sentinel in enumerate(SERIES, start=1)}

_NOISE = (
    re.compile(r'<path class="(?:back|fore)ground" aria-hidden="true"[^>]*/>'),
    re.compile(r'<text [^>]*opacity="0"[^>]*>[^<]*</text>'),
    re.compile(r' (?:font-family|pointer-events|aria-hidden|aria-roledescription|role|class|version)="[^"]*"'),
    re.compile(r' opacity="1"'),
    re.compile(r' xmlns(?::xlink)?="[^"]*"'),
)
_EMPTY = re.compile(r"<g(?: [^>]*)?></g>")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}(?:e-\d+)?")
_LABELED = re.compile(r'<(path|line|rect) aria-label="([^"]*)"([^>]*)/>')
_AXIS_LABEL = re.compile(r' aria-label="[^"]*"')
_LINK = re.compile(r'xlink:href="[^"#]*#')
_SIZE = re.compile(r'<svg width="[\d.]+" height="[\d.]+" viewBox="0 0 ([\d.]+) ([\d.]+)">')


def draw(spec: dict[str, Any], label: str, *, role: Literal["img", "group"] = "img", width_class: str = "") -> str:
    """The chart of a Vega-Lite specification as an <svg> element with `label` as its accessible name; role "group" keeps links inside reachable."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(spec)
    for noise in _NOISE:
        svg = noise.sub("", svg)
    while (thinner := _EMPTY.sub("", svg)) != svg:
        svg = thinner
    svg = _LONG_NUMBER.sub(lambda match: f"{float(match[0]):.1f}".replace("-0.0", "0").removesuffix(".0"), svg)
    svg = _LABELED.sub(r"<\1\3><title>\2</title></\1>", svg)
    svg = _LINK.sub('href="#', _AXIS_LABEL.sub("", svg))
    for sentinel, variable in _VARIABLES.items():
        svg = svg.replace(f'"{sentinel}"', f'"{variable}"')
    return _SIZE.sub(_head(label, role, width_class), svg, count=1)


def _head(label: str, role: str, width_class: str) -> str:
    from html import escape

    name = escape(label, quote=True).replace("\\", "\\\\")
    kind = f' class="{width_class}"' if width_class else ""
    return rf'<svg{kind} viewBox="0 0 \1 \2" style="max-width:calc(\1px * 1.15)" role="{role}" aria-label="{name}">'
