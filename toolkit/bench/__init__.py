"""The bench: how fast and how right each bundle is on each device, valid by the rules of MLPerf and a few of its own.

    plan ─▶ stage release and images ─▶ run the device code there ─▶ judge ─▶ store

A speed without the facts that decide whether it counts is not kept; a record that breaks a rule is, and names the rule.
"""

from toolkit.bench.plan import BenchSpec, Plan, make_plan
from toolkit.bench.run import bench_fleet, bench_here, spec_of
from toolkit.bench.session import BenchResult
from toolkit.bench.summary import Summary, summarize
from toolkit.bench.validity import RULES, broken_rules

__all__ = [
    "RULES",
    "BenchResult",
    "BenchSpec",
    "Plan",
    "Summary",
    "bench_fleet",
    "bench_here",
    "broken_rules",
    "make_plan",
    "spec_of",
    "summarize",
]
