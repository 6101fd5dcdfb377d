"""One benchmark call: its plan, its remaining steps and its results."""

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
from toolkit.bench.plan import BenchStep, Plan, make_plan
from toolkit.bench.records import make_record, parse, to_raw
from toolkit.bench.runners import Runner
from toolkit.bench.targets import PreparedTarget, prepare_target
from toolkit.bench.validity import Record
from toolkit.device.bench.spec import ACCURACY, BenchSpec
from toolkit.errors import ExitCode, Problem, ToolkitError
from toolkit.fleet.container_images.local import ContainerImage
from toolkit.progress import Progress, Task
from toolkit.store import Store
from toolkit.workspace import Workspace

Key = tuple[str, str, str]
"""(bundle, device, scenario)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """The outcome of a plan; every step is in `records`, in `skipped`, or the cause of one of `problems`."""

    records: tuple[BenchRecord, ...]
    skipped: tuple[BenchRecord, ...]
    """Valid records of the same steps from earlier calls."""
    problems: tuple[Problem, ...]
    incompatible: tuple[str, ...]
    """Bundles that a device's accelerator does not support."""

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code; an invalid record counts as measured, not as failed."""
        return ExitCode.SOME_FAILED if self.problems else ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSession:
    """Lifecycle: `prepare` checks and plans; `measure` runs on each device's own thread; `result` collects."""

    plan: Plan
    targets: dict[str, PreparedTarget]
    """By the bundle's digest."""
    store: Store
    done: dict[Key, BenchRecord]
    """Valid records of earlier calls that measured in the same way."""
    container_images: Mapping[str, ContainerImage] = field(default_factory=dict)
    """Container images that releases run in, by their name in the inventory."""
    attempted: set[Key] = field(default_factory=set)
    """Steps that this call measured or failed to measure."""
    records: list[BenchRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    machine_locks: dict[str, threading.Lock] = field(default_factory=dict)
    """One lock per machine, because devices that share one would disturb each other."""

    @classmethod
    def prepare(
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
        """Check and read all inputs before measuring."""
        targets = [prepare_target(bundle, split, workspace, store) for bundle in bundles]
        plan = make_plan([one.target for one in targets], devices, spec)
        return cls(
            plan=plan,
            targets={one.target.bundle: one for one in targets},
            store=store,
            done=_done(plan, store) if resume else {},
        )

    def remaining_steps(self, device: Device) -> tuple[BenchStep, ...]:
        """The steps of a device that are neither done nor attempted."""
        return tuple(step for step in self.plan.of(device) if key_of(step) not in self.done.keys() | self.attempted)

    def progress_bar(self, progress: Progress) -> AbstractContextManager[Task]:
        """Report the skipped steps, then show a progress bar over the remaining ones."""
        for reason in self.plan.incompatible:
            progress.log(f"left out: {reason}")
        if self.done:
            progress.log(f"skipped: {len(self.done)} of {len(self.plan.steps)} runs were measured before")
        return progress.track("benchmark runs", len(self.plan.steps) - len(self.done))

    def measure(self, runner: Runner, steps: Sequence[BenchStep], task: Task) -> None:
        """Run the steps in order; a failed one is recorded as a problem, and the next one runs.

        Raises:
            FleetError: a step failed and the device no longer answers; that step and those after it remain.
        """
        with self.machine_locks.setdefault(runner.machine(), threading.Lock()):
            for number, step in enumerate(steps):
                task.advance(0, note=f"{step.device}: {step.target.name}, {step.scenario}")
                if number:
                    time.sleep(self.plan.spec.cool_down_s)
                try:
                    self._run(runner, step)
                except ToolkitError as error:
                    if not runner.is_alive():
                        raise
                    self.problems.extend(_named(problem, step) for problem in error.problems)
                self.attempted.add(key_of(step))
                task.advance()

    def _run(self, runner: Runner, step: BenchStep) -> None:
        """Measure, validate and store one step."""
        answer = runner.measure(step, self.targets[step.target.bundle], self.plan.spec)
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

    def _accuracy(self, step: BenchStep) -> Record | None:
        """The accuracy pass of the same bundle on the same device, of this call or an earlier one."""
        key = (step.target.bundle, step.device, ACCURACY)
        by_key = {(record.parent, record.device, record.scenario): record for record in self.records}
        record = by_key.get(key) or self.done.get(key)
        return None if record is None else to_raw(record)

    def result(self, failed: Sequence[Problem]) -> BenchResult:
        """All records in the plan's order; `failed` are problems of devices that could not be reached at all."""
        order = {key_of(step): number for number, step in enumerate(self.plan.steps)}
        return BenchResult(
            records=tuple(sorted(self.records, key=lambda record: order[key_of_record(record)])),
            skipped=tuple(self.done.values()),
            problems=tuple(dict.fromkeys((*failed, *self.problems))),
            incompatible=self.plan.incompatible,
        )


def key_of(step: BenchStep) -> Key:
    """The key of a step's record."""
    return step.target.bundle, step.device, step.scenario


def key_of_record(record: BenchRecord) -> Key:
    """The key of a record."""
    return record.parent, record.device, record.scenario


def _done(plan: Plan, store: Store) -> dict[Key, BenchRecord]:
    """Return the newest valid record of each step, from any plan."""
    bundles = dict.fromkeys(step.target.bundle for step in plan.steps)
    records = (record for bundle in bundles for record in store.all(BenchRecord, parent=bundle))
    identities = {step.identity for step in plan.steps}
    return {
        key_of_record(record): record
        for record in records
        if record.settings.get("step") in identities and not record.broken_rules
    }


def _named(problem: Problem, step: BenchStep) -> Problem:
    """The problem with its device, bundle and scenario."""
    place = problem.where if problem.where not in {"", step.device} else ""
    what = f"{place}: {problem.what}" if place else problem.what
    return Problem(f"{step.target.name}, {step.scenario}: {what}", step.device, problem.remedy)
