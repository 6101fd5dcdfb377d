"""How devices did against their past and against their like, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.cli.output import print_table

if TYPE_CHECKING:
    from toolkit.analysis import Comparison, Outlier
    from toolkit.analysis.comparability import Kind


def show(compared: tuple[Comparison, ...], apart: tuple[Outlier, ...]) -> None:
    """Two tables, or a line where there is nothing to set side by side."""
    if compared:
        columns = (
            "device",
            "bundle",
            "scenario",
            "runs",
            "before",
            "now",
            "shift",
            "p",
            "verdict",
            "changed meanwhile",
        )
        print_table(columns, map(comparison_row, compared), title="Each device against its past, ms per image")
    else:
        print("no device has two valid runs of one kind yet: nothing to compare")
    if apart:
        titles = ("device", "bundle", "scenario", "its like", "usual", "now", "gap", "what its record says of why")
        print_table(titles, map(outlier_row, apart), title="\nDevices that lie apart from their like, ms per image")


def comparison_row(of: Comparison) -> tuple[object, ...]:
    """The cells of one comparison; p is adjusted for all of them."""
    figures = (f"{of.before_ms:.2f}", f"{of.now_ms:.2f}", f"{of.shift:+.1%}", f"{of.p_value:.1g}")
    return of.device, *told(of.kind), len(of.earlier) + 1, *figures, verdict(of), "; ".join(of.changed)


def outlier_row(of: Outlier) -> tuple[object, ...]:
    """The cells of one outlier."""
    figures = (f"{of.usual_ms:.2f}", f"{of.now_ms:.2f}", f"{of.gap:+.1%}")
    return of.device, *told(of.kind), f"{len(of.peers)} devices", *figures, "; ".join(of.causes) or "nothing"


def told(kind: Kind) -> tuple[str, str]:
    """A kind's name and scenario, with what sets it apart."""
    name = kind.name if kind.accelerator == "CPU" else f"{kind.name} on {kind.accelerator}"
    return name, f"{kind.scenario}{', quick' if kind.quick else ''}"


def verdict(of: Comparison) -> str:
    """What the change is called, and why a large one is not."""
    if of.change != "same":
        return of.change.upper() if of.change == "slower" else of.change
    return "same: its runs differ as much" if of.within_spread else "same"


def plain(compared: tuple[Comparison, ...], apart: tuple[Outlier, ...]) -> dict[str, object]:
    """The same for programs; digests stand for the records."""
    return {
        "compared": [comparison_plain(each) for each in compared],
        "outliers": [outlier_plain(each) for each in apart],
    }


def comparison_plain(of: Comparison) -> dict[str, object]:
    """One comparison."""
    return {
        "device": of.device,
        "kind": of.kind,
        "change": of.change,
        "shift": of.shift,
        "p_value": of.p_value,
        "within_spread": of.within_spread,
        "before_ms": of.before_ms,
        "now_ms": of.now_ms,
        "changed": of.changed,
        "record": of.newest.digest,
        "earlier": [record.digest for record in of.earlier],
    }


def outlier_plain(of: Outlier) -> dict[str, object]:
    """One outlier."""
    return {
        "device": of.device,
        "kind": of.kind,
        "alike": of.alike,
        "gap": of.gap,
        "now_ms": of.now_ms,
        "usual_ms": of.usual_ms,
        "causes": of.causes,
        "record": of.record.digest,
        "peers": [record.digest for record in of.peers],
    }
