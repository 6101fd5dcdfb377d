from __future__ import annotations

import dataclasses
import re

from toolkit.artifacts.bench import BenchRecord
from toolkit.experiment.schema import Experiment
from toolkit.report.data.load import load_report
from toolkit.report.tables import latency_history
from toolkit.store import Store
from toolkit.workspace import Workspace


def test_history_is_empty_when_everything_was_measured_once(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    assert latency_history.history(load_report(workspace, store, experiment)).rows == ()


def test_history_joins_runs_when_form_and_device_are_equal(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    first = next(r for r in store.all(BenchRecord) if r.scenario == "single-stream" and not r.broken_rules)
    slower = tuple(2 * sample for sample in first.samples_ms)
    store.put(dataclasses.replace(first, digest="e" * 64, at="2026-11-21T10:00:00+00:00", samples_ms=slower))
    store.put(dataclasses.replace(first, digest="f" * 64, at="2026-11-22T10:00:00+00:00", quick=False))
    (row,) = latency_history.history(load_report(workspace, store, experiment)).rows
    assert (row[0].text, row[2].text, row[6].text) == (first.device, "2", "+100 %")
    assert row[5].href == "#record-eeeeeeeeeeee"


def test_sparkline_begins_at_zero_and_stays_in_its_box() -> None:
    points = re.findall(r"([\d.]+),([\d.]+)", latency_history.sparkline([5, 10]).split('points="')[1].split('"')[0])
    assert [(float(x), float(y)) for x, y in points] == [(4, 15), (128, 4)]


def test_serving_says_whether_devices_were_given_what_is_named(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    report = load_report(workspace, store, experiment)
    (digest,) = {deployment.parent for deployment in report.last_deployments}
    choice = next(v for v in report.variants if v.bundle and v.bundle.digest == digest)
    assert {row[4].text for row in latency_history.serving(report, choice).rows} == {"yes"}
    assert {row[4].text for row in latency_history.serving(report, report.variants[0]).rows} == {"no"}
