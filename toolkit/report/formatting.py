"""Formatting of names and numbers for the page, the Markdown and the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.artifacts.bundle import IrModel
from toolkit.artifacts.model import TrainedModel

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
NOTHING = DASH
"""Shown in place of a missing figure."""

NETWORKS = {
    "mobilenet": "MobileNet",
    "mobilenet_v2": "MobileNetV2",
    "mobilenet_v3_small": "MobileNetV3-Small",
    "inception_v3": "InceptionV3",
    "vgg16": "VGG16",
    "resnet50": "ResNet50",
    "densenet121": "DenseNet121",
    "efficientnet_b0": "EfficientNet-B0",
    "efficientnet_lite0": "EfficientNet-Lite0",
}
STAGES = {"top": "top layers", "fine-tune": "fine-tuning", "imported": "imported"}


def network(name: str) -> str:
    """A network's name as its authors write it."""
    return NETWORKS.get(name, NETWORKS.get(name.replace("-", "_"), name))


def stage(name: str) -> str:
    """A stage in words."""
    return STAGES.get(name, name)


def model(of: TrainedModel, precision: str = "") -> str:
    """Network · head · stage, and the precision if there is one."""
    parts = [network(of.network), of.head, stage(of.stage)]
    return " · ".join([*parts, precision.upper()] if precision else parts)


def precision(ir: IrModel) -> str:
    """FP16, or "FP16 for TARGET" for other targets than today's runtime on a CPU."""
    return ir.precision.upper() if ir.target == "cpu" else f"{ir.precision.upper()} for {ir.target}"


def variant_name(of: TrainedModel, ir: IrModel) -> str:
    """Return the name of a converted model, with precision and target."""
    return f"{model(of)} · {precision(ir)}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.98125 as 98.1 %."""
    return NOTHING if fraction is None else f"{100 * fraction:.{digits}f} %"


def interval(low: float, high: float) -> str:
    """A 95 % interval of a fraction, such as "94.6 to 99.4 %" with a dash."""
    return f"{100 * low:.1f}{DASH}{100 * high:.1f} %"


def points(difference: float) -> str:
    """A difference of fractions in percentage points, signed with a true minus."""
    return f"{100 * difference:+.1f}".replace("-", MINUS)


def number(value: float | None, significant: int = 3) -> str:
    """Three significant digits, without an exponent from 0.001 to 99,999."""
    if value is None:
        return NOTHING
    if value == 0 or 0.001 <= abs(value) < 1:
        return f"{value:.{significant}g}"
    if abs(value) < 0.001:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.{significant}g}".rstrip(".")


MOST_LETTERS = 60


def shortened(label: str) -> str:
    """Return a class name, shortened for tables and charts."""
    return label if len(label) <= MOST_LETTERS else f"{label[: MOST_LETTERS - 1]}…"


def size(size_bytes: int) -> str:
    """Bytes as MB of a million, or as kB below that."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 999_950 else f"{max(size_bytes / 1e3, 0.1):.1f} kB"


def span(values: Iterable[float | None], unit: str) -> str:
    """The range of what is there: 4.1 to 4.6 ms with a dash, or one figure where they agree as printed."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return NOTHING
    low, high = number(known[0]), number(known[-1])
    return f"{low} {unit}".rstrip() if low == high else f"{low}{DASH}{high} {unit}".rstrip()


def count(total: int, noun: str) -> str:
    """1 device, 3 devices."""
    return f"{total:,} {noun}" if total == 1 else f"{total:,} {noun}s"


def listed(items: Iterable[str]) -> str:
    """a, b and c."""
    *most, last = list(items) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def date(stamp: str) -> str:
    """An ISO time as 2026-11-21 23:05 UTC, whatever is finer left out."""
    return f"{stamp[:10]} {stamp[11:16]} UTC" if len(stamp) >= 16 else stamp
