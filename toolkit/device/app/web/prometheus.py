"""Metrics in the Prometheus text format, version 0.0.4."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..pipeline.throughput import BUCKETS_S, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = Tuple[Dict[str, str], Optional[float]]
Family = Tuple[str, str, str, List[Sample]]


def render_metrics(state: Dict[str, Any], dropped: Dict[str, int], latency: Histogram) -> str:
    """Return all metrics as text, from StatusReport.now(), the drops by queue and the latency histogram."""
    lines: List[str] = []
    for name, kind, help_, samples in _families(state, dropped):
        lines += _head(name, kind, help_)
        lines += [f"{name}{_labels(labels)} {float(value)!r}" for labels, value in samples if value is not None]
    lines += _histogram("toolkit_app_latency_seconds", "Time from a frame's arrival to its result.", latency)
    return "\n".join((*lines, ""))


def _head(name: str, kind: str, help_: str) -> List[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]


def _histogram(name: str, help_: str, histogram: Histogram) -> List[str]:
    limits = [*(repr(limit) for limit in BUCKETS_S), "+Inf"]
    buckets = [f'{name}_bucket{{le="{limit}"}} {count}' for limit, count in zip(limits, histogram.counts)]  # noqa: B905 - strict= came with Python 3.10
    return [
        *_head(name, "histogram", help_),
        *buckets,
        f"{name}_sum {histogram.sum_s!r}",
        f"{name}_count {histogram.counts[-1]}",
    ]


def _labels(labels: Dict[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _families(state: Dict[str, Any], dropped: Dict[str, int]) -> Iterator[Family]:
    """Yield the name, type, help and samples of each metric except the histogram."""
    throttled = (state["throttled"] or {}).get("now")
    info = {key: str(state[key]) for key in ("release", "name", "accelerator", "precision", "runtime")}
    model: List[Sample] = [(info, 1)]
    yield "toolkit_app_info", "gauge", "The loaded model and its accelerator.", model
    frames: List[Sample] = [({"result": name}, value) for name, value in state["frames"].items()]
    yield "toolkit_app_frames_total", "counter", "Frames by result.", frames
    drops: List[Sample] = [({"queue": name}, value) for name, value in dropped.items()]
    yield "toolkit_app_dropped_frames_total", "counter", "Frames dropped because newer ones came, by queue.", drops
    alerts: List[Sample] = [({}, state["alerts"])]
    yield "toolkit_app_alerts_total", "counter", "Alerts of rules that were raised.", alerts
    if state["captures"]:
        yield from _capture_families(state["captures"])
    if state["drift"]:
        yield from _drift_families(state["drift"])
    for name, help_, value in (
        ("uptime_seconds", "Time since the app started.", state["uptime_s"]),
        ("results_per_second", "Results per second over the last seconds.", state["fps"]),
        ("camera_up", "1 while frames arrive.", state["camera"]),
        ("cpu_fallback", "1 while the CPU replaces a missing accelerator.", state["cpu_fallback"]),
        ("temperature_celsius", "Processor temperature.", state["temperature_c"]),
        ("accelerator_temperature_celsius", "Accelerator temperature.", state["accelerator_temperature_c"]),
        ("throttled", "1 while the firmware throttles the processor.", throttled),
    ):
        yield "toolkit_app_" + name, "gauge", help_, [({}, value)]


def _capture_families(captures: Dict[str, Any]) -> Iterator[Family]:
    """Yield the metrics of captures; see CaptureRecorder.state."""
    held = {"held": "Captures on the device.", "size_bytes": "Size of the captures on the device."}
    counts: List[Sample] = [
        ({"result": name}, value) for name, value in captures.items() if name not in held and name != "problem"
    ]
    yield "toolkit_app_captures_total", "counter", "Images chosen to be labeled, by result.", counts
    for name, help_ in held.items():
        yield "toolkit_app_captures_" + name, "gauge", help_, [({}, captures[name])]
    up: List[Sample] = [({}, captures["problem"] is None)]
    yield "toolkit_app_captures_up", "gauge", "1 while captures are stored without a problem.", up


def _drift_families(drift: Dict[str, Any]) -> Iterator[Family]:
    """Yield the metrics of drift; see DriftMonitor.state."""
    deviations: List[Sample] = [({"signal": name}, value) for name, value in drift["deviations"].items()]
    raised: List[Sample] = [({"signal": name}, name in drift["raised"]) for name in drift["deviations"]]
    yield "toolkit_app_drift_deviation", "gauge", "Distance of the last block of frames from the reference.", deviations
    if "distance" in drift["recent"]["means"]:
        help_ = "Mean distance of recent frames from the training images; 1 is that of a usual one."
        yield "toolkit_app_drift_training_distance", "gauge", help_, [({}, drift["recent"]["means"]["distance"])]
    yield "toolkit_app_drift_raised", "gauge", "1 while a signal has drifted from the reference.", raised
    for name, help_ in (
        ("learned", "Part of the reference that is there."),
        ("limit", "Deviation that counts as drift."),
    ):
        yield "toolkit_app_drift_" + name, "gauge", help_, [({}, drift[name])]
