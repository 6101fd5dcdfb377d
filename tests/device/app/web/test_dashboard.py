"""The Grafana dashboard in docs/: it asks for metrics that the app has, in expressions that Prometheus takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from toolkit.device.app.pipeline.throughput import BUCKETS_S, Histogram
from toolkit.device.app.web.prometheus import render_metrics

DASHBOARD = Path(__file__).parents[4] / "docs" / "grafana-dashboard.json"
STATE: dict[str, Any] = {
    **dict.fromkeys(("release", "name", "accelerator", "precision", "runtime"), "x"),
    **dict.fromkeys(
        ("uptime_s", "fps", "camera", "cpu_fallback", "temperature_c", "accelerator_temperature_c", "alerts"), 1
    ),
    "throttled": {"now": False},
    "frames": {"answered": 1},
    "captures": {"held": 1, "size_bytes": 1, "problem": None, "stored": 1},
    "drift": {
        "deviations": {"blur": 1.0},
        "raised": [],
        "recent": {"means": {"distance": 1.0}},
        "learned": 1.0,
        "limit": 5.0,
    },
}


@pytest.fixture
def panels() -> list[dict[str, Any]]:
    return list(json.loads(DASHBOARD.read_text())["panels"])


def expressions(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_panels_fit_the_grid_without_overlap(panels: list[dict[str, Any]]) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not own & cells, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_metric_is_one_of_the_app(panels: list[dict[str, Any]]) -> None:
    text = render_metrics(STATE, {"inference": 0}, Histogram((0,) * (len(BUCKETS_S) + 1), 0.0))
    known = set(re.findall(r"^(toolkit_app_\w+)", text, re.MULTILINE))
    asked = set(re.findall(r"\btoolkit_app_\w+", " ".join(expressions(panels))))
    assert asked <= known
    assert "toolkit_app_latency_seconds_bucket" in asked


@pytest.mark.interop
def test_expressions_are_valid_for_prometheus(panels: list[dict[str, Any]], tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"

    def check(exprs: list[str]) -> subprocess.CompletedProcess[str]:
        plain = (one.replace("$instance", ".*").replace("$__rate_interval", "5m") for one in exprs)
        listed = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(plain)]
        rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": listed}]}))
        return subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)

    done = check(expressions(panels))
    assert done.returncode == 0, done.stderr
    assert check(["sum by ("]).returncode != 0  # it does check


def test_dashboard_has_a_quantile_of_the_whole_fleet(panels: list[dict[str, Any]]) -> None:
    assert any(re.search(r"histogram_quantile\(0\.99, sum by \(le\) \(", expr) for expr in expressions(panels))
