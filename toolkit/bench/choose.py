"""Measure the variants of a model on one device of each kind, and choose the fastest that is accurate enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from toolkit import hashing
from toolkit.artifacts.bench import BenchRecord, VariantChoice, VariantResult
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.bench.run import bench_fleet
from toolkit.bench.session import BenchResult
from toolkit.bench.summary import summarize
from toolkit.bundle.model_variants import Fits, manifest_of, trained_model, variants_of, why_not
from toolkit.device.bench.spec import ACCURACY, SINGLE_STREAM, BenchSpec
from toolkit.errors import ExitCode, Problem
from toolkit.fleet.facts import device_kind, probe_all
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ChooseResult:
    """The choices, one for each model and kind of device, and what kept others from being made."""

    choices: tuple[VariantChoice, ...]
    problems: tuple[Problem, ...]

    @property
    def exit_code(self) -> ExitCode:
        """SOME_FAILED if a device could not be probed or has no eligible variant."""
        return ExitCode.SOME_FAILED if self.problems else ExitCode.DONE


def choose_variants(
    bundles: Sequence[Bundle],
    devices: Sequence[Device],
    spec: BenchSpec,
    fits: Fits,
    *,
    workspace: Workspace,
    store: Store,
    progress: Progress,
    forks: int,
    resume: bool = False,
) -> ChooseResult:
    """Measure every variant of each bundle's model on the first device of each kind, and store the fastest.

    Variants are compared by the p90 latency of single-stream runs; one whose record breaks a rule, such as that of accuracy, is
    not eligible. Variants whose 95 % intervals overlap are a tie, which goes to the smaller one.

    Raises:
        BundleError, DataError: a bundle or its images cannot be used.
    """
    spec = replace(spec, scenarios=(SINGLE_STREAM,))
    kinds, problems = _kinds(devices, forks, progress)
    models = {trained_model(workspace.absolute(bundle.path)): bundle for bundle in bundles}
    choices = []
    for model, bundle in models.items():
        variants = variants_of(bundle, workspace, store)
        for kind, (device, facts) in kinds.items():
            progress.log(f"{kind}: {len(variants)} variants on {device.name}")
            excluded = {
                variant.digest: why_not(manifest_of(workspace.absolute(variant.path)), device, facts, fits)
                for variant in variants
            }
            measured = bench_fleet(
                [variant for variant in variants if not excluded[variant.digest]],
                [device],
                spec,
                workspace=workspace,
                store=store,
                progress=progress,
                resume=resume,
            )
            results = [_result(variant, measured, excluded[variant.digest]) for variant in variants]
            choice = make_choice(model, kind, device.name, results)
            if choice is None:
                reasons = "; ".join(f"{variant.name}: {variant.excluded}" for variant in results)
                problems.append(Problem(f"no variant is eligible on {kind}: {reasons}", device.name))
            else:
                store.put(choice)
                choices.append(choice)
    return ChooseResult(tuple(choices), tuple(problems))


def _kinds(
    devices: Sequence[Device], forks: int, progress: Progress
) -> tuple[dict[str, tuple[Device, DeviceFacts]], list[Problem]]:
    """Return the first device of each kind with its facts, in the inventory's order."""
    probed = probe_all(devices, forks, progress=progress)
    kinds: dict[str, tuple[Device, DeviceFacts]] = {}
    for device, facts in probed.ok.items():
        kinds.setdefault(device_kind(device, facts), (device, facts))
    return kinds, list(probed.failed.values())


def _result(variant: Bundle, measured: BenchResult, excluded: str) -> VariantResult:
    """Return what was measured of a variant."""
    records = {
        record.scenario: record for record in (*measured.skipped, *measured.records) if record.parent == variant.digest
    }
    speed = records.get(SINGLE_STREAM)
    summary = summarize(speed) if speed else None
    accuracy = records[ACCURACY].accuracy if ACCURACY in records else None
    return VariantResult(
        bundle=variant.digest,
        name=variant.name,
        size_bytes=variant.size_bytes,
        p90_ms=summary.p90_ms if summary else None,
        p90_interval_ms=summary.p90_interval_ms if summary else None,
        accuracy=accuracy,
        excluded=excluded or _invalid(variant, records, measured),
    )


def _invalid(variant: Bundle, records: Mapping[str, BenchRecord], measured: BenchResult) -> str:
    """Return why a variant's records cannot be used; empty if they can."""
    if not {ACCURACY, SINGLE_STREAM} <= records.keys():
        own = [problem.what for problem in measured.problems if problem.what.startswith(f"{variant.name}, ")]
        return (own or [problem.what for problem in measured.problems] or ["it was not measured"])[0]
    broken = dict.fromkeys(rule for record in records.values() for rule in record.broken_rules)
    if broken:
        return f"breaks {', '.join(broken)}"
    return "" if summarize(records[SINGLE_STREAM]).p90_ms is not None else "too few queries for a p90 latency"


def make_choice(model: str, kind: str, device: str, variants: Sequence[VariantResult]) -> VariantChoice | None:
    """Choose among measured variants; None if none is eligible. Pure but for the time."""
    eligible = sorted((variant for variant in variants if not variant.excluded), key=_speed)
    if not eligible:
        return None
    tied = [variant for variant in eligible if _is_tie(variant, eligible[0])]
    chosen = min(tied, key=lambda variant: (variant.size_bytes, _speed(variant)))
    return VariantChoice(
        digest=hashing.sha256_json([model, kind]),
        parent=model,
        kind=kind,
        device=device,
        bundle=chosen.bundle,
        reason=_reason(chosen, eligible, tied),
        variants=(*eligible, *(variant for variant in variants if variant.excluded)),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _speed(variant: VariantResult) -> tuple[float, int, str]:
    return variant.p90_ms or 0.0, variant.size_bytes, variant.name


def _is_tie(variant: VariantResult, fastest: VariantResult) -> bool:
    """Whether the intervals of both p90 overlap."""
    if variant.p90_interval_ms is None or fastest.p90_interval_ms is None:
        return variant.p90_ms == fastest.p90_ms
    return variant.p90_interval_ms[0] <= fastest.p90_interval_ms[1]


def _reason(chosen: VariantResult, eligible: Sequence[VariantResult], tied: Sequence[VariantResult]) -> str:
    others = [variant for variant in eligible if variant is not chosen]
    if not others:
        return "the only eligible variant"
    equal = [variant.name for variant in tied if variant is not chosen]
    if equal:
        return f"p90 {chosen.p90_ms:.2f} ms, a tie with {' and '.join(equal)}, and the smaller"
    return f"p90 {chosen.p90_ms:.2f} ms, against {others[0].p90_ms:.2f} ms of {others[0].name}"
