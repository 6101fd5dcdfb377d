"""One call of the bench: what is prepared, what is left to do, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Self

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Device
from toolkit.bench.plan import ACCURACY, BenchSpec, Plan, Step, make_plan
from toolkit.bench.records import make_record, parse, raw_of
from toolkit.bench.runners import Station
from toolkit.bench.targets import Prepared, prepare
from toolkit.bench.validity import Record
from toolkit.errors import ExitCode, Problem, ToolkitError
from toolkit.fleet.container_images.local import ContainerImage
from toolkit.progress import Progress, Task
from toolkit.store import Store
from toolkit.workspace import Workspace

Key = tuple[str, str, str]
"""(bundle, device, scenario)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What became of a plan; every step is in `records`, in `skipped`, or behind one of `problems`."""

    records: tuple[BenchRecord, ...]
    skipped: tuple[BenchRecord, ...]
    """Valid records of the same plan that were there already."""
    problems: tuple[Problem, ...]
    unfit: tuple[str, ...]
    """What a device's accelerator cannot run, in words."""

    @property
    def exit_code(self) -> ExitCode:
        """A record that breaks a rule was taken; only what could not be measured counts as failed."""
        return ExitCode.SOME_FAILED if self.problems else ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Lifecycle: `opened` prepares and plans; `measure` runs on each device's own thread; `result` gathers."""

    plan: Plan
    prepared: dict[str, Prepared]
    """By the bundle's digest."""
    store: Store
    done: dict[Key, BenchRecord]
    """What former calls measured validly in the same way."""
    container_images: Mapping[str, ContainerImage] = field(default_factory=dict)
    """What releases run in where they run in one, by the name that the inventory gives."""
    tried: set[Key] = field(default_factory=set)
    """What this call measured, or could not."""
    records: list[BenchRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    turns: dict[str, threading.Lock] = field(default_factory=dict)
    """One lock per machine: devices that share one would measure each other."""

    @classmethod
    def opened(
        cls,
        bundles: Sequence[Bundle],
        devices: Sequence[Device],
        spec: BenchSpec,
        split: Split | None,
        workspace: Workspace,
        store: Store,
        *,
        resume: bool,
    ) -> Self:
        """Check and read everything before anything is measured."""
        prepared = [prepare(bundle, split, workspace, store) for bundle in bundles]
        plan = make_plan([one.subject for one in prepared], devices, spec)
        return cls(
            plan=plan,
            prepared={one.subject.bundle: one for one in prepared},
            store=store,
            done=_done(plan, store) if resume else {},
        )

    def steps_of(self, device: Device) -> tuple[Step, ...]:
        """What is left to do on a device."""
        return tuple(step for step in self.plan.of(device) if key_of(step) not in self.done.keys() | self.tried)

    def showing(self, progress: Progress) -> AbstractContextManager[Task]:
        """Say what is skipped and left out; then a bar over the steps that are left."""
        for reason in self.plan.unfit:
            progress.log(f"left out: {reason}")
        if self.done:
            progress.log(f"skipped: {len(self.done)} of {len(self.plan.steps)} runs were measured before")
        return progress.track("bench", len(self.plan.steps) - len(self.done))

    def measure(self, station: Station, steps: Sequence[Step], task: Task) -> None:
        """One step after the other; a step that fails is kept as a problem, and the next one is tried.

        Raises:
            FleetError: a step failed, and the device does not answer any more; that step and those after it are left.
        """
        with self.turns.setdefault(station.machine(), threading.Lock()):
            for number, step in enumerate(steps):
                if number:
                    time.sleep(self.plan.spec.cool_down_s)
                try:
                    self._take(station, step)
                except ToolkitError as error:
                    if not station.answers():
                        raise
                    self.problems.extend(_named(problem, step) for problem in error.problems)
                self.tried.add(key_of(step))
                task.advance(note=f"{step.device}: {step.subject.name}, {step.scenario}")

    def _take(self, station: Station, step: Step) -> None:
        """Measure, judge, keep."""
        answer = station.measure(step, self.prepared[step.subject.bundle], self.plan.spec)
        raw = parse(answer, step.device)
        if step.container_image:
            raw = {
                **raw,
                "settings": {
                    **raw["settings"],
                    "container_image": self.container_images[step.container_image].reference,
                },
            }
        record = make_record(raw, step, self.plan, raw if step.scenario == ACCURACY else self._accuracy(step))
        self.store.put(record)
        self.records.append(record)

    def _accuracy(self, step: Step) -> Record | None:
        """The accuracy pass of the same bundle on the same device, in this call or the one it goes on from."""
        key = (step.subject.bundle, step.device, ACCURACY)
        taken = {(record.parent, record.device, record.scenario): record for record in self.records}
        found = taken.get(key) or self.done.get(key)
        return None if found is None else raw_of(found)

    def result(self, failed: Sequence[Problem]) -> BenchResult:
        """Everything, in the plan's order; `failed` are the devices that could not be reached at all."""
        order = {key_of(step): number for number, step in enumerate(self.plan.steps)}
        return BenchResult(
            records=tuple(sorted(self.records, key=lambda record: order[key_of_record(record)])),
            skipped=tuple(self.done.values()),
            problems=tuple(dict.fromkeys((*failed, *self.problems))),
            unfit=self.plan.unfit,
        )


def key_of(step: Step) -> Key:
    """What a record of this step would be filed under."""
    return step.subject.bundle, step.device, step.scenario


def key_of_record(record: BenchRecord) -> Key:
    """The same of a record."""
    return record.parent, record.device, record.scenario


def _done(plan: Plan, store: Store) -> dict[Key, BenchRecord]:
    """The newest valid record of each step, whichever plan it was first part of."""
    bundles = dict.fromkeys(step.subject.bundle for step in plan.steps)
    records = (record for bundle in bundles for record in store.all(BenchRecord, parent=bundle))
    wanted = {step.identity for step in plan.steps}
    return {
        key_of_record(record): record
        for record in records
        if record.settings.get("step") in wanted and not record.broken_rules
    }


def _named(problem: Problem, step: Step) -> Problem:
    """With the device, the bundle and the scenario that it concerns."""
    place = problem.where if problem.where not in {"", step.device} else ""
    what = f"{place}: {problem.what}" if place else problem.what
    return Problem(f"{step.subject.name}, {step.scenario}: {what}", step.device, problem.remedy)
