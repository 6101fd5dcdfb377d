"""Benchmarks: speed and accuracy of bundles on devices, valid by the rules of MLPerf Inference and additional ones.

    plan ─▶ stage release and images ─▶ run the device code ─▶ validate ─▶ store

A record that breaks a rule is stored with the rule's name and left out of comparisons.
"""

from toolkit.bench.plan import Plan, make_plan
from toolkit.bench.run import bench_fleet, bench_local
from toolkit.bench.session import BenchResult
from toolkit.bench.summary import Summary, summarize
from toolkit.bench.validity import RULES, broken_rules
from toolkit.device.bench.spec import BenchSpec

__all__ = [
    "RULES",
    "BenchResult",
    "BenchSpec",
    "Plan",
    "Summary",
    "bench_fleet",
    "bench_local",
    "broken_rules",
    "make_plan",
    "summarize",
]
