"""The whole pipeline, from images to report; every stage reuses the results it already has.

    prepare ─▶ train ─▶ convert ─▶ bundle ─▶ deploy ─▶ bench ─▶ report

Stages do not import one another; the pipeline passes one's result to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from toolkit import bench, convert, data, deploy, fleet, networks, report, train
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Device
from toolkit.artifacts.model import TrainedModel
from toolkit.convert.bundling import create_bundle
from toolkit.errors import ExitCode, Problem
from toolkit.experiment.schema import Experiment
from toolkit.fleet.local_fleet import control
from toolkit.fleet.pool import DEFAULT_LIMIT
from toolkit.progress import Progress
from toolkit.report import Report
from toolkit.store import Store
from toolkit.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineResult:
    """The results of all stages; trials and devices that failed are in `failed`."""

    split: Split
    models: tuple[TrainedModel, ...]
    bundles: tuple[Bundle, ...]
    deployed: Bundle
    records: tuple[BenchRecord, ...]
    failed: tuple[Problem, ...]
    report: Report

    @property
    def exit_code(self) -> ExitCode:
        """0, or 1 if trials or devices failed."""
        return ExitCode.SOME_FAILED if self.failed else ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """One experiment in one workspace; without an inventory, on a local fleet that runs as long as it is needed."""

    plan: Experiment
    workspace: Workspace
    progress: Progress
    inventory: Path | None = None
    limit: str | None = None
    forks: int = DEFAULT_LIMIT
    sweep_options: train.SweepOptions = field(default_factory=train.SweepOptions)

    def run(self) -> PipelineResult:
        """Run every stage.

        Raises:
            ToolkitError: a stage before the fleet failed; finished work is kept, and the next run continues from it.
        """
        for name in self.plan.matrix.networks:
            networks.resolve_network(self.plan, name)
        with Store(self.workspace.database) as store:
            self._title("images")
            split = data.prepare_dataset(self.plan.data, self.plan.origin, self.workspace, self.progress)
            store.put(split)
            trained = self._train(split, store)
            models = trained.models
            bundles = self._convert([model for model in models if not model.withheld], split, store)
            with self._devices() as devices:
                chosen = choose_bundle(bundles)
                deployed = self._deploy(chosen, devices, store)
                measured = self._bench(tuple(bundles), devices, split, store)
            written = report.write_report(
                self.workspace, store, experiment=self.plan, workspace_option=self.workspace.option
            )
        return PipelineResult(
            split=split,
            models=models,
            bundles=tuple(bundles),
            deployed=chosen,
            records=(*measured.skipped, *measured.records),
            failed=(*trained.failed, *deployed.failed.values(), *measured.problems),
            report=written,
        )

    def _title(self, text: str) -> None:
        self.progress.log(f"── {text}")

    def _train(self, split: Split, store: Store) -> train.SweepResult:
        self._title("training")
        trials = tuple(self.plan.trials())
        return train.train_trials(
            self.plan, trials, split, self.workspace, store, self.progress, sweep_options=self.sweep_options
        )

    def _convert(self, models: Sequence[TrainedModel], split: Split, store: Store) -> Mapping[Bundle, TrainedModel]:
        self._title("conversion and comparison with Keras")
        return convert_models(self.plan, models, split, self.workspace, store, self.progress)

    @contextmanager
    def _devices(self) -> Iterator[tuple[Device, ...]]:
        """Return the inventory's devices, or a local fleet that is stopped at the end if it was started here."""
        self._title("fleet")
        if self.inventory is not None:
            yield fleet.load_inventory(self.inventory, self.limit)
            return
        up = control.up(self.workspace)
        self.progress.log(f"local fleet: {', '.join(device.name for device in up.devices)}")
        try:
            yield fleet.load_inventory(up.inventory, self.limit) if self.limit else up.devices
        finally:
            if up.started:
                control.down(self.workspace)

    def _deploy(self, chosen: Bundle, devices: tuple[Device, ...], store: Store) -> deploy.RolloutResult:
        self._title(f"deployment of {chosen.name}")
        settings = self.plan.deploy
        result = deploy.deploy(
            self.workspace.absolute(chosen.path),
            devices,
            strategy=deploy.strategy_from_config(settings),
            gates=deploy.gates_from_config(settings, store),
            hooks=self.plan.resolve_path(settings.hooks) if settings.hooks else None,
            store=store,
            bills=self.workspace.folder("sboms"),
            forks=self.forks,
            progress=self.progress,
        )
        for device, outcome in result.ok.items():
            self.progress.log(f"{device.name}: {outcome.outcome}, {outcome.sent_bytes:,} bytes sent")
        return result

    def _bench(
        self, bundles: tuple[Bundle, ...], devices: tuple[Device, ...], split: Split, store: Store
    ) -> bench.BenchResult:
        self._title("measurement on the devices")
        return bench.bench_fleet(
            bundles,
            devices,
            self.plan.bench,
            workspace=self.workspace,
            store=store,
            progress=self.progress,
            split=split,
            forks=self.forks,
            resume=True,
        )


def convert_models(
    plan: Experiment,
    models: Sequence[TrainedModel],
    split: Split,
    workspace: Workspace,
    store: Store,
    progress: Progress,
) -> Mapping[Bundle, TrainedModel]:
    """Return a bundle for each of the experiment's targets and precisions, with its model."""
    settings = plan.convert
    bundles: dict[Bundle, TrainedModel] = {}
    for model in models:
        for target in settings.targets:
            for precision in settings.precisions:
                tolerance = settings.tolerance.get(precision)
                ir = convert.convert_model(
                    model, precision, target, workspace, store, progress, tolerance, settings.max_drop
                )
                bundles[create_bundle(ir, model, split, workspace, store, progress)] = model
    return bundles


def choose_bundle(bundles: Mapping[Bundle, TrainedModel]) -> Bundle:
    """Return the bundle to deploy: best on the validation images, never on the test images; then the smallest."""
    best = max(bundles.values(), key=validation_score)
    return min((bundle for bundle, model in bundles.items() if model == best), key=lambda bundle: bundle.size_bytes)


def validation_score(model: TrainedModel) -> tuple[float, float]:
    """Return the accuracy on the validation images and the negative loss of the saved weights there; higher is better."""
    if model.validation is None:  # imported, or stored without: any other is better
        return 0.0, -math.inf
    correct = model.validation.correct
    return sum(correct) / len(correct), -model.validation.uncalibrated_loss
