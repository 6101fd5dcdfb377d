"""The recommendation: which model to ship, on which device, and whether to trust it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.artifacts.bundle import Bundle
from toolkit.report import checks, formatting
from toolkit.report.checks import STATES, State, TrustCheck
from toolkit.report.data.load import ReportData
from toolkit.report.data.paired_tests import indistinguishable
from toolkit.report.data.variants import Variant

SUBSETS = {"train": "train", "validation": "validate", "test": "test"}
ACCURACY_SHARE = 0.99
"""A model counts as accurate as the best from this share of its accuracy (bench rule 6)."""
TIE = 0.05
"""Speeds and sizes that differ by a smaller share are a tie."""

NO_SPLIT = "name a split of the data that is not among this workspace's records"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to ship and why."""

    choice: Variant | None
    """None when no model can be named; `reason` says why."""
    headline: str
    reason: str
    checks: tuple[TrustCheck, ...]
    where: str = ""
    """On which device, in a sentence; empty where none was measured."""

    @property
    def bundle(self) -> Bundle | None:
        """The bundle to deploy, if there is one."""
        return self.choice.bundle if self.choice else None

    @property
    def state(self) -> State:
        """The worst of the checks."""
        states = {check.state for check in self.checks}
        return "bad" if "bad" in states else "warning" if "warning" in states else "good"

    @property
    def trust(self) -> str:
        """Whether to trust it, in a sentence; empty where nothing is named."""
        if self.choice is None:
            return ""
        by_state = {state: [check.title.lower() for check in self.checks if check.state == state] for state in STATES}
        if by_state["bad"]:
            return f"Not yet: {formatting.listed(by_state['bad'])} failed."
        if by_state["warning"]:
            return f"With care: see {formatting.listed(by_state['warning'])}."
        evaluated = [check for check in self.checks if check.state != "none"]
        return f"Yes: all {len(evaluated)} checks passed."


def recommend_model(report: ReportData) -> Recommendation:
    """Recommend the fastest of the models as accurate as the best one, as far as the results can tell."""
    passed = [variant for variant in report.variants if variant.ir.parity.passed]
    able = [variant for variant in passed if not report.is_at_chance(variant)]
    if not passed:
        return _none(report, f"No converted model has passed parity with its original. {_best_trained(report)}")
    if not able:
        return _none(
            report, "Every converted model is at chance level: none is better than always predicting one class."
        )
    if len({variant.model.parent for variant in able}) > 1:
        return _none(report, "The models were tested on different data, so their accuracies cannot be compared.")
    best = max(variant.accuracy for variant in able)
    finalists = _finalists(report, [variant for variant in able if variant.accuracy >= ACCURACY_SHARE * best])
    choice, tie = _simplest(finalists)
    return Recommendation(
        choice,
        f"Ship {formatting.variant_name(choice.model, choice.ir)}{', one of a tie' if tie else ''}",
        _reason(choice, best) + tie,
        _checks(report, choice),
        _where(choice),
    )


def _none(report: ReportData, reason: str) -> Recommendation:
    conversion = (_conversion(report),) if report.variants else ()
    return Recommendation(
        None, "No model can be recommended yet", reason, (_data(report), _training(report), *conversion)
    )


def _finalists(report: ReportData, accurate: Sequence[Variant]) -> list[Variant]:
    """Those that are about as fast as the fastest, then about as small as the smallest, then not significantly worse."""
    slowest = _slowest_ms(accurate)
    fastest = min(slowest.values(), default=0.0)
    fast = [v for v in accurate if not slowest or slowest.get(v.ir.digest, math.inf) <= (1 + TIE) * fastest]
    smallest = min(variant.ir.size_bytes for variant in fast)
    small = [variant for variant in fast if variant.ir.size_bytes <= (1 + TIE) * smallest]
    best = max(small, key=lambda variant: (variant.accuracy, -variant.ir.size_bytes))
    alike = {model.digest for model in indistinguishable(report, best.model)}
    known = bool(report.truth.get(best.model.parent))
    tied = [v for v in small if v.model.digest in alike or (not known and v.accuracy == best.accuracy)]
    return [best, *(variant for variant in tied if variant is not best)]


def _simplest(finalists: Sequence[Variant]) -> tuple[Variant, str]:
    """The one of these to name, and in a sentence that others are as good; empty where they are of one model."""
    if len({variant.model.digest for variant in finalists}) == 1:
        return finalists[0], ""
    fewest = min(variant.model.parameters for variant in finalists)
    choice = min(
        finalists,
        key=lambda v: (v.bundle is None, v.model.parameters, v.ir.size_bytes, formatting.variant_name(v.model, v.ir)),
    )
    names = formatting.listed([formatting.variant_name(v.model, v.ir) for v in finalists if v is not choice][:4])
    why = "there is a bundle of it" if choice.model.parameters > fewest else "none of them has fewer parameters"
    return choice, (
        f" It is a tie: neither accuracy, speed nor size distinguishes it from {names}. This one is named because {why}."
    )


def _slowest_ms(variants: Sequence[Variant]) -> dict[str, float]:
    """Per IR its p90 latency on the slowest of the devices that all measured ones have in common; empty if none is."""
    latencies = {
        v.ir.digest: {(m.device, m.accelerator): m.p90_ms for m in v.measured if m.p90_ms is not None} for v in variants
    }
    places = [set(each) for each in latencies.values() if each]
    common = set.intersection(*places) if places else set()
    return {ir: max(each[place] for place in common) for ir, each in latencies.items() if common and each}


def _best_trained(report: ReportData) -> str:
    best = max(report.models, key=lambda model: model.evaluation.accuracy)
    judged = best.evaluation
    return (
        f"The best of those trained is {formatting.model(best)}, with a test accuracy of {formatting.percent(judged.accuracy)} on "
        f"{judged.images:,} images (95 % interval {formatting.interval(*judged.interval)})."
    )


def _reason(choice: Variant, best: float) -> str:
    images = choice.ir.parity.images
    accuracy = (
        f"Its test accuracy is {formatting.percent(choice.accuracy)} on {images:,} images "
        f"(95 % interval {formatting.interval(*choice.interval)})"
    )
    place = "the highest" if choice.accuracy == best else f"within 1 % of the highest ({formatting.percent(best)})"
    latencies = [each.p90_ms for each in choice.measured if each.p90_ms is not None]
    if not latencies:
        return f"{accuracy}, {place}. Its speed has not been measured."
    speed = (
        f"it answers within {formatting.span(latencies, 'ms')} (p90) on {formatting.count(len(latencies), 'device')}"
    )
    return f"{accuracy}, {place}, and {speed}; none as accurate is more than 5 % faster on its slowest device."


def _where(choice: Variant) -> str:
    """The fastest and the slowest place by p90, and what the form is for."""
    places = sorted((m.p90_ms, m.device, m.accelerator) for m in choice.measured if m.p90_ms is not None)
    if not places:
        return ""
    (fastest, device, accelerator), (slowest, other, _) = places[0], places[-1]
    on = device if accelerator == "CPU" else f"{device}'s {accelerator}"
    if len(places) == 1:
        return f"{on}, the only one measured: {formatting.number(fastest)} ms."
    return f"{on} is the fastest of {len(places)}, with {formatting.number(fastest)} ms; {other} the slowest, with {formatting.number(slowest)} ms."


def _checks(report: ReportData, choice: Variant) -> tuple[TrustCheck, ...]:
    return (
        _data(report),
        _accuracy(report, choice),
        _training(report, choice),
        _conversion(report),
        *_without_device(report),
        *_on_device(choice),
        _speed(report),
        _devices(report),
        *checks.past(report),
        *checks.fleet(report),
        *checks.drift(report, choice),
    )


def _data(report: ReportData) -> TrustCheck:
    if any("synthetic" in note for note in report.notes):
        text = (
            f"{formatting.listed(report.notes).capitalize()}: every figure here comes from synthetic images. They show that "
            "the pipeline works and how its models compare, not how well a model does on real images."
        )
        return TrustCheck("Data", "warning", text)
    if len(report.splits) != 1:
        why = "were not all trained and judged on the same split of the data" if report.splits else NO_SPLIT
        return TrustCheck("Data", "bad", f"The models {why}.")
    (split,) = report.splits
    sizes = ", ".join(f"{split.size(subset):,} to {verb}" for subset, verb in SUBSETS.items())
    text = f"All models saw the same split of {split.name}: {sizes}."
    if split.note:
        return TrustCheck("Data", "warning", f"{text} Note: {split.note}.")
    return TrustCheck("Data", "good", text)


def _accuracy(report: ReportData, choice: Variant) -> TrustCheck:
    low, high = choice.interval
    alike = len(indistinguishable(report, choice.model))
    others = (
        f" {formatting.count(alike, 'other model')} cannot be distinguished from it on these images." if alike else ""
    )
    text = f"The test set leaves {100 * (high - low):.1f} points of uncertainty.{others}"
    return TrustCheck("Accuracy", "good" if high - low <= 0.05 else "warning", text)


def _training(report: ReportData, choice: Variant | None = None) -> TrustCheck:
    if all(model.imported for model in report.models):
        return TrustCheck("Training", "none", "Not checked: the models were imported, not trained here.")
    withheld = [model for model in report.models if model.withheld]
    warned = [model for model in report.models if model.warnings and not model.withheld]
    total = formatting.count(len(report.models), "model")
    if not warned and withheld:
        text = f"{total} trained; {len(withheld)} of them no better than the stage before, and so not offered."
        return TrustCheck("Training", "good", text)
    if not warned:
        return TrustCheck("Training", "good", f"{total} trained without a warning.")
    if choice and choice.model in warned:
        return TrustCheck("Training", "bad", f"About this model: {choice.model.warnings[0].partition('. ')[0]}.")
    names = formatting.listed(formatting.model(model) for model in warned[:3])
    more = f", and {len(warned) - 3} more" if len(warned) > 3 else ""
    text = f"{len(warned)} of {total} may have learned nothing, or something wrong: {names}{more}."
    return TrustCheck("Training", "warning", f"{text}{' The recommended model is not among them.' if choice else ''}")


def _conversion(report: ReportData) -> TrustCheck:
    failed = [v for v in report.variants if not v.ir.parity.passed]
    if failed:
        names = formatting.listed(formatting.variant_name(v.model, v.ir) for v in failed[:3])
        more = f", and {len(failed) - 3} more" if len(failed) > 3 else ""
        state: State = "bad" if len(failed) == len(report.variants) else "warning"
        return TrustCheck("Conversion", state, f"Excluded because of failed parity: {names}{more}.")
    agree = min(v.ir.parity.top1_agreement for v in report.variants)
    total = formatting.count(len(report.variants), "converted model")
    least = "on every test image" if agree == 1 else f"on at least {formatting.percent(agree)} of the test images"
    most = max(v.ir.parity.max_abs for v in report.variants)
    text = f"{total} within tolerance of Keras, with the same answer {least}; no probability changed by more than {formatting.number(most, 2)}."
    return TrustCheck("Conversion", "good", text)


def _without_device(report: ReportData) -> Iterator[TrustCheck]:
    """Older runtimes and the accelerator's compiler, where `toolkit check` was run."""
    failed = [check for check in report.checks if check.outcome == "failed"]
    passed = formatting.listed(sorted({check.name for check in report.checks if check.outcome == "passed"}))
    if failed:
        yield TrustCheck(
            "Bundles",
            "bad",
            f"{formatting.count(len(failed), 'check')} failed, first {failed[0].name}: {failed[0].message}.",
        )
    elif passed:
        yield TrustCheck("Bundles", "good", f"Without a device these checks passed: {passed}.")
    else:
        yield TrustCheck("Bundles", "none", "Not checked: `toolkit check` was not run.")


def _on_device(choice: Variant) -> Iterator[TrustCheck]:
    """The accuracy passes on the devices against the FP32 reference (rule 6)."""
    reached = [m.accuracy.accuracy for m in choice.measured if m.accuracy and m.accuracy.accuracy is not None]
    if not reached:
        yield TrustCheck(
            "Same on the device", "none", "Not checked: no device has a valid accuracy pass of this model."
        )
        return
    reference = choice.ir.parity.reference_accuracy
    state: State = "good" if min(reached) >= ACCURACY_SHARE * reference else "bad"
    span = formatting.span((100 * each for each in reached), "%")
    text = f"It reached {span} on the devices; before conversion it reached {formatting.percent(reference)}."
    yield TrustCheck("Same on the device", state, text)


def _speed(report: ReportData) -> TrustCheck:
    if not report.records:
        return TrustCheck("Speed", "bad", "No device has been measured yet.")
    broken = sum(bool(record.broken_rules) for record in report.records)
    rules = formatting.listed(dict.fromkeys(rule for record in report.records for rule in record.broken_rules))
    left_out = (
        f" {formatting.count(broken, 'run')} broke a rule ({rules}) and {'is' if broken == 1 else 'are'} left out."
        if broken
        else ""
    )
    if report.only_quick:
        text = "Quick runs, below 60 s or 1,024 queries: they are for a first look and never compared with full ones."
        return TrustCheck("Speed", "warning", text + left_out)
    return TrustCheck("Speed", "warning" if broken else "good", f"Full runs by the rules.{left_out}")


def _devices(report: ReportData) -> TrustCheck:
    machines = {str(record.facts.get("machine") or "unknown") for record in report.records}
    if not machines:
        return TrustCheck("Devices", "bad", "No device was part of this.")
    models = {str(record.facts.get("model") or "") for record in report.records}
    if all("Raspberry Pi" in model for model in models):
        return TrustCheck("Devices", "good", f"Measured on {formatting.listed(sorted(models))}.")
    total = formatting.count(len(report.devices), "device")
    text = f"Measured on {total} of the kind {formatting.listed(sorted(machines))}, not on Raspberry Pis: expect other speeds there."
    return TrustCheck("Devices", "warning", text)
