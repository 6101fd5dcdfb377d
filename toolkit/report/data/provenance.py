"""Provenance of figures: commands, versions, machine, and requested runs that are missing."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.device.runtime.accelerators import ACCELERATORS, kind_of
from toolkit.report import formatting
from toolkit.report.data.load import IMPORTED, STAGES, ReportData
from toolkit.report.data.variants import SCENARIOS, Variant


def why_different(report: ReportData) -> str:
    """One line on why ours and the published figures differ."""
    data = formatting.listed([split.note or split.name for split in report.splits])
    machines = sorted({str(record.facts.get("machine") or "unknown") for record in report.records})
    accelerators = sorted({record.accelerator for record in report.records})
    where = (
        f"on {formatting.listed(machines)} with {formatting.listed(accelerators)}"
        if machines
        else "with no device measured yet"
    )
    return f"Ours differ for their data ({data}), their training as listed below, and their hardware ({where}): shown side by side, not ranked."


def commands(report: ReportData) -> str:
    """The commands that make the report again; each works as printed."""
    if report.name == IMPORTED:
        names = dict.fromkeys(f"{model.network}-{model.head}-{model.stage}" for model in report.models)
        return _lines(report, *(f"toolkit convert {shlex.quote(name)}" for name in names), "toolkit report")
    if report.name == "demo":
        return _lines(report, "toolkit demo")
    if report.plan is None:
        return _lines(report, "toolkit report")
    return _lines(report, f"toolkit run {_experiment_file(report)}", f"toolkit report {_experiment_file(report)}")


def _lines(report: ReportData, *commands: str) -> str:
    return "\n".join(command + report.workspace_option for command in commands)


def results_command(report: ReportData, file: Path) -> str:
    """The command that writes a file of results."""
    parts = ("toolkit report", _experiment_file(report), f"--markdown {shlex.quote(str(file))}")
    return " ".join(filter(None, parts)) + report.workspace_option


def _experiment_file(report: ReportData) -> str:
    return shlex.quote(str(report.plan.origin)) if report.plan else ""


def versions(report: ReportData) -> str:
    """Return the versions used in training."""
    versions_used = {(name, version) for model in report.models for name, version in model.versions.items()}
    return (
        formatting.listed(f"{name} {version}" for name, version in sorted(versions_used))
        or "versions that were not recorded"
    )


def warnings(report: ReportData) -> list[tuple[str, str]]:
    """Return the warnings of training, grouped by text, with the models of each."""
    models_of: dict[str, list[str]] = {}
    for model in report.models:
        for text in model.warnings:
            models_of.setdefault(text.rstrip("."), []).append(formatting.model(model))
    return [(formatting.listed(models), text) for text, models in models_of.items()]


def machine() -> str:
    """The machine that this is written on: processor, cores, system."""
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    cores = formatting.count(len(os.sched_getaffinity(0)), "core")
    return f"{_processor()}, {cores}, {system}, Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}"


def _processor() -> str:
    """Return the processor's name from /proc/cpuinfo; on ARM, the machine's architecture."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def not_run(report: ReportData) -> tuple[str, ...]:
    """Return what the experiment requests and the store lacks, and limits of the measured devices."""
    return (*_untrained(report), *_unconverted(report), *_unmeasured(report), *_no_pi(report))


def _untrained(report: ReportData) -> Iterator[str]:
    plan = report.plan
    if plan is None:
        return
    done = {(model.network, model.head, model.stage) for model in report.models}
    for network in plan.matrix.networks:
        for head in plan.heads:
            trial = plan.trial(network, head)
            stages = [stage.name for stage in trial.stages if (network, head, stage.name) not in done]
            if stages:
                names = formatting.listed(formatting.stage(stage) for stage in sorted(stages, key=STAGES.index))
                yield f"Not trained: {formatting.network(network)}, {head}, {names}."


def _unconverted(report: ReportData) -> Iterator[str]:
    """Models of which variants are missing, those that miss the same ones together."""
    config = report.plan.convert if report.plan else None
    done = {(variant.model.digest, variant.ir.precision, variant.ir.target) for variant in report.variants}
    variants = [(p, t) for t in config.targets for p in config.precisions] if config else []
    missing: dict[tuple[str, ...], list[str]] = {}
    for model in (one for one in report.models if not one.withheld):
        lacking = tuple(f"{p.upper()} for {t}" for p, t in variants if (model.digest, p, t) not in done)
        missing.setdefault(lacking, []).append(formatting.model(model))
    yield from (
        f"Not converted to {formatting.listed(lacking)}: {_some(names)}."
        for lacking, names in missing.items()
        if lacking
    )


def _some(names: Sequence[str]) -> str:
    """The first four, and how many more."""
    return f"{', '.join(names[:4])} and {len(names) - 4} more" if len(names) > 4 else formatting.listed(names)


def _unmeasured(report: ReportData) -> Iterator[str]:
    if not report.variants:
        return
    if not report.records:
        yield "Not measured on any device."
        return
    for scenario in SCENARIOS:
        missing = [v for v in report.variants if not any(_counts(v, scenario))]
        if missing:
            yield f"No {scenario} run that counts: {_some([formatting.variant_name(v.model, v.ir) for v in missing])}."


def _counts(variant: Variant, scenario: str) -> Iterator[bool]:
    for measured in variant.measured:
        results = dict(zip(SCENARIOS, (measured.latency, measured.offline, measured.accuracy), strict=True))
        yield results[scenario] is not None


def _no_pi(report: ReportData) -> Iterator[str]:
    kinds = {str(record.facts.get("model") or record.facts.get("machine") or "unknown") for record in report.records}
    if kinds and not any("Raspberry Pi" in kind for kind in kinds):
        yield f"Not on a Raspberry Pi: the devices were {formatting.listed(sorted(kinds))}."
    used = {kind_of(record.accelerator) for record in report.records}
    for accelerator in ACCELERATORS.values() if kinds else ():
        if accelerator.removable and accelerator.name not in used:
            yield f"Not on a {accelerator.label}: none was available."
