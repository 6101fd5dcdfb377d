"""The runs of a benchmark, in order. Pure.

Per device, one bundle follows the other; each starts with its accuracy pass, because the outputs of its speed runs are
compared with that, then runs the scenarios in the order of the spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from toolkit import hashing
from toolkit.artifacts.fleet import Device
from toolkit.device.bench.spec import ACCURACY, FULL_QUERIES, FULL_SECONDS, SINGLE_STREAM, BenchSpec
from toolkit.device.runtime.accelerators import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTarget:
    """A bundle to measure, with its tolerances and reference accuracy."""

    bundle: str
    name: str
    release: str
    """The digest of bundle and device code together."""
    tolerance: Mapping[str, float]
    """The largest difference of a probability, per accelerator that the bundle supports."""
    images: str
    """The digest of the image set."""
    reference_accuracy: float | None
    """The model's accuracy on these images before conversion, in float32; None if it was not measured.

    For multi-label models it is the micro F1, which single labels move and not whole images alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchStep:
    """One scenario of one bundle on one device."""

    target: BenchTarget
    device: str
    accelerator: str
    scenario: str
    identity: str
    """Digest of bundle, device code, images, device and settings; it does not depend on the rest of the plan."""
    container_image: str | None = None
    """The container image to run in, by its name in the inventory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All steps; the same bundles, device code, images, devices and spec give the same `identity`."""

    identity: str
    spec: BenchSpec
    steps: tuple[BenchStep, ...]
    incompatible: tuple[str, ...]
    """A message for each bundle that is left out because it does not support a device's accelerator."""

    def of(self, device: Device) -> tuple[BenchStep, ...]:
        """The steps on one device, in order."""
        return tuple(step for step in self.steps if step.device == device.name)


def make_plan(targets: Sequence[BenchTarget], devices: Sequence[Device], spec: BenchSpec) -> Plan:
    """Plan every target on every device that it supports."""
    pairs = [(target, device) for device in devices for target in targets]
    compatible = [(target, device) for target, device in pairs if kind_of(device.accelerator) in target.tolerance]
    return Plan(
        identity=hashing.sha256_json([list(map(_bytes_of, targets)), list(map(_place, devices)), asdict(spec)]),
        spec=spec,
        steps=tuple(step for target, device in compatible for step in _steps(target, device, spec)),
        incompatible=tuple(
            f"{device.name}: {target.name} does not support {device.accelerator}"
            for target, device in pairs
            if (target, device) not in compatible
        ),
    )


def _steps(target: BenchTarget, device: Device, spec: BenchSpec) -> Iterator[BenchStep]:
    settings = {name: value for name, value in asdict(spec).items() if name != "scenarios"}
    for scenario in dict.fromkeys((ACCURACY, *spec.scenarios)):
        yield BenchStep(
            target=target,
            device=device.name,
            accelerator=device.accelerator,
            scenario=scenario,
            identity=hashing.sha256_json([_bytes_of(target), _place(device), settings, scenario]),
            container_image=device.container_image,
        )


def _bytes_of(target: BenchTarget) -> tuple[str, str]:
    return target.release, target.images


def _place(device: Device) -> tuple[str | int | None, ...]:
    return device.name, device.host, device.port, device.root, device.accelerator, device.container_image


def is_quick(scenario: str, wall_s: float, queries: int) -> bool:
    """Return whether a run is shorter than a full one; the length of an accuracy pass is its image set."""
    if scenario == ACCURACY:
        return False
    return wall_s < FULL_SECONDS or (scenario == SINGLE_STREAM and queries < FULL_QUERIES)
