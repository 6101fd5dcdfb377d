"""Prometheus' text format, version 0.0.4."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Optional, Tuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = Tuple[str, Dict[str, str], Optional[float]]


def render_metrics(state: Dict[str, Any], dropped: Dict[str, int]) -> str:
    """All metrics from State.now(), and the drops by queue."""
    lines = []
    for name, kind, help_, samples in _families(state, dropped):
        lines += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]
        lines += [
            f"{name}{_labels(labels)} {float(value)!r}" for _, labels, value in samples(name) if value is not None
        ]
    return "\n".join((*lines, ""))


def _labels(labels: Dict[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _families(state: Dict[str, Any], dropped: Dict[str, int]) -> Iterator[Any]:
    frames, throttled = state["frames"], state["throttled"] or {}

    def one(value: Any, **labels: str) -> Any:
        return lambda name: [(name, labels, None if value is None else float(value))]

    def many(values: Dict[str, Any], label: str, scale: float = 1.0) -> Any:
        def samples(name: str) -> Iterator[Sample]:
            for key, value in values.items():
                yield name, {label: key}, None if value is None else float(value) * scale

        return samples

    info = {key: str(state[key]) for key in ("release", "name", "accelerator", "precision", "openvino")}
    quantiles = {f"0.{key[1:]}": value for key, value in state["latency_ms"].items()}
    yield "toolkit_app_info", "gauge", "Which model works, and where.", one(1, **info)
    yield "toolkit_app_uptime_seconds", "gauge", "Since the app was started.", one(state["uptime_s"])
    yield "toolkit_app_frames_total", "counter", "Frames by what became of them.", many(frames, "kind")
    yield "toolkit_app_dropped_total", "counter", "Frames that were too old, by queue.", many(dropped, "queue")
    yield "toolkit_app_results_per_second", "gauge", "Over the last seconds.", one(state["fps"])
    yield (
        "toolkit_app_latency_seconds",
        "gauge",
        "From a frame's arrival to its result, of late.",
        many(quantiles, "quantile", 1e-3),
    )
    yield "toolkit_app_camera_up", "gauge", "1 while frames come.", one(state["camera"])
    yield "toolkit_app_stands_in", "gauge", "1 while the CPU works in a stick's place.", one(state["cpu_fallback"])
    yield "toolkit_app_temperature_celsius", "gauge", "Of the processor.", one(state["temperature_c"])
    yield "toolkit_app_stick_temperature_celsius", "gauge", "Of the stick.", one(state["accelerator_temperature_c"])
    yield "toolkit_app_throttled", "gauge", "1 while the firmware slows the processor down.", one(throttled.get("now"))
