"""What is to be measured where, and in which order: pure.

Per device the bundles come one after the other; of each the accuracy pass first, as the speed runs' answers are held
against its own, then the scenarios as the user lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from toolkit import hashing
from toolkit.artifacts.fleet import Device

FULL_SECONDS = 60.0
FULL_QUERIES = 1024
"""A run below these is labeled "quick" and never compared with a full one (bench rule 2)."""

ACCURACY, SINGLE_STREAM, OFFLINE = "accuracy", "single-stream", "offline"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSpec:
    """How to measure; None leaves a choice to OpenVINO on the device."""

    scenarios: tuple[str, ...] = (SINGLE_STREAM, OFFLINE)
    seconds: float = FULL_SECONDS
    queries: int = FULL_QUERIES
    cool_down_s: float = 0.0
    """A pause before each run after a device's first."""
    seed: int = 0
    threads: int | None = None
    streams: int | None = None
    precision: str | None = None
    clock: str = "total"
    """What a latency covers: "total" is decode, fit and inference; "inference" begins with the u8 image ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A bundle with what its measuring needs to know."""

    bundle: str
    name: str
    release: str
    """The digest of bundle and device code together."""
    tolerance: Mapping[str, float]
    """The largest difference of a probability, per accelerator it is made for."""
    images: str
    """The digest of the image set."""
    reference_accuracy: float | None
    """What the model reached on these very images before it was converted, in float32; None if not known.

    Where images have many labels it is the micro F1: single labels move it, and not whole images alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One scenario of one bundle on one device."""

    subject: Subject
    device: str
    accelerator: str
    scenario: str
    identity: str
    """The same bundle, device code, images, device and way of measuring give the same, whatever else is planned."""
    container_image: str | None = None
    """What it runs in there, as the inventory calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All steps; the same bundles, device code, images, devices and spec give the same `identity`."""

    identity: str
    spec: BenchSpec
    steps: tuple[Step, ...]
    unfit: tuple[str, ...]
    """What is left out because a bundle is not made for a device's accelerator, in words."""

    def of(self, device: Device) -> tuple[Step, ...]:
        """The steps on one device, in order."""
        return tuple(step for step in self.steps if step.device == device.name)


def make_plan(subjects: Sequence[Subject], devices: Sequence[Device], spec: BenchSpec) -> Plan:
    """Every subject on every device that it is made for."""
    pairs = [(subject, device) for device in devices for subject in subjects]
    fitting = [(subject, device) for subject, device in pairs if kind(device.accelerator) in subject.tolerance]
    return Plan(
        identity=_identity(subjects, devices, spec),
        spec=spec,
        steps=tuple(step for subject, device in fitting for step in _steps(subject, device, spec)),
        unfit=tuple(
            f"{device.name}: {subject.name} is not made for {device.accelerator}"
            for subject, device in pairs
            if (subject, device) not in fitting
        ),
    )


def kind(accelerator: str) -> str:
    """An accelerator without its number: MYRIAD of MYRIAD.1.2-ma2480."""
    return accelerator.partition(".")[0]


def _steps(subject: Subject, device: Device, spec: BenchSpec) -> Iterator[Step]:
    way = {name: value for name, value in asdict(spec).items() if name != "scenarios"}
    for scenario in dict.fromkeys((ACCURACY, *spec.scenarios)):
        identity = hashing.sha256_json([_measured(subject), _place(device), way, scenario])
        yield Step(
            subject=subject,
            device=device.name,
            accelerator=device.accelerator,
            scenario=scenario,
            identity=identity,
            container_image=device.container_image,
        )


def _identity(subjects: Sequence[Subject], devices: Sequence[Device], spec: BenchSpec) -> str:
    return hashing.sha256_json([list(map(_measured, subjects)), list(map(_place, devices)), asdict(spec)])


def _measured(subject: Subject) -> tuple[str, str]:
    return subject.release, subject.images


def _place(device: Device) -> tuple[str | int, ...]:
    """A device without a container image is what it was before there were any: its records still count."""
    container_image = (device.container_image,) if device.container_image else ()
    return device.name, device.host, device.port, device.root, device.accelerator, *container_image


def is_quick(scenario: str, wall_s: float, queries: int) -> bool:
    """Whether a run stayed under the full limits; an accuracy pass is as long as its image set is."""
    if scenario == ACCURACY:
        return False
    return wall_s < FULL_SECONDS or (scenario == SINGLE_STREAM and queries < FULL_QUERIES)


def words(step: Step, spec: BenchSpec, release: str, images: str, root: str) -> list[str]:
    """The device code's arguments; paths as the device sees them."""
    asked: dict[str, object] = {
        "scenario": step.scenario,
        "images": images,
        "root": root,
        "accelerator": step.accelerator,
        "seconds": spec.seconds,
        "queries": spec.queries,
        "seed": spec.seed,
        "clock": spec.clock,
        "threads": spec.threads,
        "streams": spec.streams,
        "precision": spec.precision,
    }
    given = [f"--{name}={value}" for name, value in asked.items() if value is not None]
    return ["bench", release, *given]
