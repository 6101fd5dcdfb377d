"""Print how devices compare with their own earlier runs and with their peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.cli.output import print_table

if TYPE_CHECKING:
    from toolkit.analysis import Outlier, Regression
    from toolkit.analysis.comparability import ComparisonKey


def show(compared: tuple[Regression, ...], outliers: tuple[Outlier, ...]) -> None:
    """Print two tables, or a line if nothing can be compared."""
    if compared:
        columns = ("device", "bundle", "scenario", "runs", "before", "now", "shift", "p", "verdict", "other changes")
        print_table(columns, map(comparison_row, compared), title="Compared with earlier runs, ms per image")
    else:
        print("nothing to compare: no device has two valid runs of the same kind")
    if outliers:
        titles = ("device", "bundle", "scenario", "peers", "median", "now", "gap", "possible causes")
        print_table(titles, map(outlier_row, outliers), title="\nDevices that differ from their peers, ms per image")


def comparison_row(of: Regression) -> tuple[object, ...]:
    """Return the cells of one comparison; p is adjusted for the number of comparisons."""
    figures = (f"{of.before_ms:.2f}", f"{of.now_ms:.2f}", f"{of.shift:+.1%}", f"{of.p_value:.1g}")
    return of.device, *kind_cells(of.kind), len(of.earlier) + 1, *figures, verdict(of), "; ".join(of.changed)


def outlier_row(of: Outlier) -> tuple[object, ...]:
    """Return the cells of one outlier."""
    figures = (f"{of.usual_ms:.2f}", f"{of.now_ms:.2f}", f"{of.gap:+.1%}")
    causes = "; ".join(of.causes) or "none recorded"
    return of.device, *kind_cells(of.kind), f"{len(of.peers)} devices", *figures, causes


def kind_cells(kind: ComparisonKey) -> tuple[str, str]:
    """Return the bundle's name with its accelerator, and the scenario."""
    name = kind.name if kind.accelerator == "CPU" else f"{kind.name} on {kind.accelerator}"
    return name, f"{kind.scenario}{', quick' if kind.quick else ''}"


def verdict(of: Regression) -> str:
    """Return the name of the change; for a large shift that is not significant, why."""
    if of.change != "same":
        return of.change.upper() if of.change == "slower" else of.change
    return "same: within the spread of its runs" if of.within_spread else "same"


def to_json(compared: tuple[Regression, ...], outliers: tuple[Outlier, ...]) -> dict[str, object]:
    """Return the same for programs; digests stand for records."""
    return {"compared": list(map(comparison_json, compared)), "outliers": list(map(outlier_json, outliers))}


def comparison_json(of: Regression) -> dict[str, object]:
    """Return one comparison for JSON."""
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


def outlier_json(of: Outlier) -> dict[str, object]:
    """Return one outlier for JSON."""
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
