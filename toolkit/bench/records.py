"""From the device code's JSON to the stored record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import toolkit
from toolkit import hashing
from toolkit.artifacts.bench import BenchRecord
from toolkit.bench.plan import BenchStep, Plan, is_quick
from toolkit.bench.validity import Record, broken_rules
from toolkit.errors import FleetError

FACTS = ("used", "environment", "order", "logged", "predictions", "warm_up_ms", "compile_ms", "first_inference_ms")
MULTI_LABEL_FACTS = ("micro_f1",)
MORE_FACTS = ("peak_memory_bytes", "device_code", "name")


def make_record(raw: Record, step: BenchStep, plan: Plan, accuracy: Record | None) -> BenchRecord:
    """Validate a run and make its record; `accuracy` is the accuracy pass of the same bundle on the same device."""
    content = {
        "parent": raw["bundle"],
        "device": step.device,
        "scenario": step.scenario,
        "accelerator": raw["used"].get("accelerator") or step.accelerator,
        "samples_ms": tuple(raw["samples_ms"]),
        "wall_s": raw["wall_s"],
        "quick": is_quick(step.scenario, raw["wall_s"], len(raw["samples_ms"])),
        "broken_rules": broken_rules(raw, step.target, accuracy),
        "accuracy": raw["accuracy"],
        "correct": raw["correct"],
        "images": raw["images"]["count"],
        "facts": _facts(raw),
        "settings": {
            **raw["settings"],
            "plan": plan.identity,
            "step": step.identity,
            "cool_down_s": plan.spec.cool_down_s,
        },
        "at": raw["at"],
    }
    return BenchRecord(digest=hashing.sha256_json(content), **content)


def _facts(raw: Record) -> Mapping[str, Any]:
    """Facts of the device and of the run, with temperatures and clocks as they were before it."""
    before = {key: value for key, value in raw["environment"]["before"].items() if key in raw["facts"]}
    return {
        **raw["facts"],
        **before,
        **{name: raw[name] for name in (*FACTS, *MORE_FACTS)},
        **{name: raw[name] for name in MULTI_LABEL_FACTS if name in raw},
        "image_set": raw["images"]["digest"],
        "toolkit": toolkit.__version__,
    }


def to_raw(record: BenchRecord) -> Record:
    """The parts of the device's JSON that a speed run of a later session is compared with."""
    return {
        "accuracy": record.accuracy,
        "images": {"count": record.images, "digest": record.facts["image_set"]},
        "logged": record.facts["logged"],
        **{name: record.facts[name] for name in MULTI_LABEL_FACTS if name in record.facts},
    }


def parse(answer: str, device: str) -> Record:
    """The JSON of a successful run.

    Raises:
        FleetError: the run failed; with the device's message.
    """
    try:
        raw: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise FleetError(f"the benchmark's answer is not JSON: {answer.strip()[:200]}", where=device) from None
    if not raw.get("ok"):
        error = raw["error"]
        place = f"{error['where']}: " if error["where"] else ""
        raise FleetError(f"{place}{error['what']}", where=device, remedy=error["remedy"])
    return raw
