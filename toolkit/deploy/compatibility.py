"""Whether a bundle's target fits a device's accelerator and OpenVINO. Checked before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit import compat
from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.device.layout import MANIFEST
from toolkit.device.runtime.accelerators import AUTO, CPU
from toolkit.errors import Problem
from toolkit.fleet.facts import PROVISION
from toolkit.fleet.transfer.tree import FileTree

_CONVERT = "convert the model for this device: toolkit convert MODEL --target {}"


def bundle_manifest(tree: FileTree) -> Mapping[str, Any]:
    """Return the manifest of a release's bundle; empty if there is none."""
    for file in tree.files:
        if file.path == MANIFEST:
            result: dict[str, Any] = json.loads(
                file.source if isinstance(file.source, bytes) else file.source.read_bytes()
            )
            return result
    return {}


def incompatibilities(manifest: Mapping[str, Any], device: Device, facts: DeviceFacts) -> Iterator[Problem]:
    """Yield why the bundle does not fit; an unknown target is left to the golden gate."""
    target = compat.known().targets.get(str(manifest.get("target")))
    if target is None:
        return
    kind = device.accelerator.partition(".")[0]
    if kind != AUTO and kind not in target.accelerators:
        fitting = [name for name, each in compat.known().targets.items() if kind in each.accelerators]
        yield Problem(
            f"the bundle is made for {target.name} ({target.summary}), not for {kind}",
            device.name,
            _CONVERT.format(" or ".join(fitting)),
        )
    processor = str(facts.details.get("processor") or f"processor of {facts.machine}")
    precision = str(manifest.get("precision"))
    if target.runtime == "litert":
        if facts.openvino and not facts.details.get("litert"):
            why = facts.details.get("litert_error") or "not found"
            what = (
                f"the bundle is made for LiteRT, which {device.container_image or device.python} cannot import: {why}"
            )
            yield Problem(what, device.name, f"{PROVISION}; or {_CONVERT.format('cpu')}")
        return
    reason = compat.why_unsuitable(facts.machine, processor, precision) if kind in {CPU.name, AUTO} else ""
    if reason:
        yield Problem(
            f"the bundle is {precision.upper()}, and the device has a {processor}: {reason}",
            device.name,
            "deploy its FP16 variant (toolkit convert MODEL --precision fp16), or INT8 for LiteRT (--target litert)",
        )
    generation = _generation(facts)
    if (
        facts.openvino
        and generation is not None
        and generation.name not in target.generations
        and not _reads(generation, target)
    ):
        fitting = [name for name, each in compat.known().targets.items() if generation.name in each.generations]
        yield Problem(
            f"the bundle is made for {target.name} ({target.summary}), but the device has OpenVINO {facts.openvino}",
            device.name,
            _CONVERT.format(" or ".join(fitting)),
        )


def variant_requirements(manifest: Mapping[str, Any]) -> dict[str, object]:
    """Return what `incompatibilities` refuses, as a device that pulls reads it; see `toolkit.device.runtime.variant`."""
    target = compat.known().targets.get(str(manifest.get("target")))
    if target is None:
        return {"runtime": "openvino", "accelerators": [], "exclusions": []}
    exclusions = [] if target.runtime == "litert" else [*_unsuitable(str(manifest.get("precision"))), *_unread(target)]
    return {"runtime": target.runtime, "accelerators": list(target.accelerators), "exclusions": exclusions}


def _unsuitable(precision: str) -> Iterator[dict[str, object]]:
    for row in compat.known().unsuitable:
        if row.precision == precision:
            lists = {"machines": list(row.machines), "processors": list(row.processors), "openvino": []}
            yield {**lists, "reason": row.reason}


def _unread(target: compat.Target) -> Iterator[dict[str, object]]:
    """Yield the versions of OpenVINO, by machine, that do not read what is made for a target."""
    for generation in compat.known().generations.values():
        if generation.name not in target.generations and not _reads(generation, target):
            lists = {"machines": list(generation.accelerators), "processors": [], "openvino": list(generation.versions)}
            yield {**lists, "reason": f"it is made for {target.summary}"}


def _generation(facts: DeviceFacts) -> compat.Generation | None:
    """The generation of the device's OpenVINO on its machine; None for a version between them or beyond."""
    if not facts.openvino:
        return None
    version = _numbers(facts.openvino)
    generations = (
        generation for generation in compat.known().generations.values() if facts.machine in generation.accelerators
    )
    return next(
        (
            generation
            for generation in generations
            if _numbers(generation.versions[0]) <= version <= _numbers(generation.versions[1])
        ),
        None,
    )


def _reads(generation: compat.Generation, target: compat.Target) -> bool:
    """Return whether the runtime reads the file's version and all of its operations."""
    return target.container in generation.containers and target.opset <= generation.opset


def _numbers(version: str) -> tuple[int, ...]:
    """Return (2026, 4, 1) for 2026.4.1-22982."""
    return tuple(int(part) for part in version.partition("-")[0].split(".")[:3] if part.isdigit())
