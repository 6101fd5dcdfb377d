"""The first answer of the report: which model to ship, on which device, and whether to trust it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.report import checks, formatting
from toolkit.report.checks import STATES, Check, State
from toolkit.report.data.load import Gathered
from toolkit.report.data.paired_tests import not_told_apart
from toolkit.report.data.variants import Variant

PARTS = {"train": "train", "validation": "validate", "test": "test"}
GATE = 0.99
"""A model counts as good as the best from this share of its accuracy (bench rule 6)."""

NO_SPLIT = "name a split of the data that is not among this workspace's records"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to ship and why."""

    choice: Variant | None
    """None when no form of any model passed parity."""
    headline: str
    reason: str
    checks: tuple[Check, ...]
    where: str = ""
    """On which device, in a sentence; empty where none was measured."""

    @property
    def state(self) -> State:
        """The worst of the checks."""
        found = {check.state for check in self.checks}
        return "bad" if "bad" in found else "care" if "care" in found else "good"

    @property
    def trust(self) -> str:
        """Whether to trust it, in a sentence; empty where nothing is named."""
        if self.choice is None:
            return ""
        minded = {state: [check.title.lower() for check in self.checks if check.state == state] for state in STATES}
        if minded["bad"]:
            return (
                f"Not yet: {formatting.listed(minded['bad'])} {'does' if len(minded['bad']) == 1 else 'do'} not hold."
            )
        if minded["care"]:
            return f"With care: mind {formatting.listed(minded['care'])}."
        return f"Yes: all {len(self.checks)} checks hold."


def judge(gathered: Gathered) -> Verdict:
    """The fastest of those as accurate as the best, among the models whose conversion holds."""
    sound = [variant for variant in gathered.variants if variant.ir.parity.passed]
    if not sound:
        why = f"No model has been converted and found equal to its original. {_best_trained(gathered)}"
        checks = (_data(gathered), _training(gathered), *((_conversion(gathered),) if gathered.variants else ()))
        return Verdict(None, "Nothing can be shipped yet", why, checks)
    best = max(variant.accuracy for variant in sound)
    choice = min((v for v in sound if v.accuracy >= GATE * best), key=_cost)
    return Verdict(
        choice,
        f"Ship {formatting.form(choice.model, choice.ir)}",
        _reason(choice, best),
        _checks(gathered, choice),
        _where(choice),
    )


def _best_trained(gathered: Gathered) -> str:
    best = max(gathered.models, key=lambda model: model.evaluation.accuracy)
    judged = best.evaluation
    return (
        f"The best of those trained is {formatting.model(best)}, with {formatting.percent(judged.accuracy)} of {judged.images:,} "
        f"test images right (95 % interval {formatting.interval(*judged.interval)})."
    )


def _cost(variant: Variant) -> tuple[float, int, float]:
    """What is better sorts first: fast on the slowest device, then small, then accurate."""
    slowest = variant.slowest_ms
    return float("inf") if slowest is None else slowest, variant.ir.size_bytes, -variant.accuracy


def _reason(choice: Variant, best: float) -> str:
    images = choice.ir.parity.images
    accuracy = (
        f"It gets {formatting.percent(choice.accuracy)} of {images:,} test images right "
        f"(95 % interval {formatting.interval(*choice.interval)})"
    )
    place = "the best seen" if choice.accuracy == best else f"within 1 % of the best seen ({formatting.percent(best)})"
    latencies = [each.p90_ms for each in choice.measured if each.p90_ms is not None]
    if not latencies:
        return f"{accuracy}, {place}. Its speed has not been measured."
    speed = f"answers within {formatting.span(latencies, 'ms')} (p90) on {formatting.count(len(latencies), 'device')}"
    return f"{accuracy}, {place}, and {speed}; none as accurate is faster on its slowest device."


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


def _checks(gathered: Gathered, choice: Variant) -> tuple[Check, ...]:
    return (
        _data(gathered),
        _accuracy(gathered, choice),
        _training(gathered, choice),
        _conversion(gathered),
        *_without_device(gathered),
        *_on_device(choice),
        _speed(gathered),
        _devices(gathered),
        *checks.past(gathered),
        *checks.fleet(gathered),
        *checks.drift(gathered, choice),
    )


def _data(gathered: Gathered) -> Check:
    if any("synthetic" in note for note in gathered.notes):
        text = (
            f"{formatting.listed(gathered.notes).capitalize()}: every figure here comes from made images. They show that "
            "the line works and how its models compare, not how well one does in the street."
        )
        return Check("Data", "care", text)
    if len(gathered.splits) != 1:
        why = "were not all trained and judged on the same split of the data" if gathered.splits else NO_SPLIT
        return Check("Data", "bad", f"The models {why}.")
    (split,) = gathered.splits
    sizes = ", ".join(f"{split.size(part):,} to {verb}" for part, verb in PARTS.items())
    text = f"All models saw the same split of {split.name}: {sizes}."
    if split.note:
        return Check("Data", "care", f"{text} Mind what it is: {split.note}.")
    return Check("Data", "good", text)


def _accuracy(gathered: Gathered, choice: Variant) -> Check:
    low, high = choice.interval
    alike = len(not_told_apart(gathered, choice.model))
    others = f" {formatting.count(alike, 'other model')} cannot be told from it on these images." if alike else ""
    text = f"The test set leaves {100 * (high - low):.1f} points of uncertainty.{others}"
    return Check("Accuracy", "good" if high - low <= 0.05 else "care", text)


def _training(gathered: Gathered, choice: Variant | None = None) -> Check:
    warned = [model for model in gathered.models if model.warnings]
    total = formatting.count(len(gathered.models), "model")
    if not warned:
        return Check("Training", "good", f"{total} trained without a warning.")
    if choice and choice.model in warned:
        return Check("Training", "bad", f"Of this very model: {choice.model.warnings[0].partition('. ')[0]}.")
    names = formatting.listed(formatting.model(model) for model in warned[:3])
    more = f", and {len(warned) - 3} more" if len(warned) > 3 else ""
    text = f"{len(warned)} of {total} may have learned nothing, or the wrong thing: {names}{more}."
    return Check("Training", "care", f"{text}{' The one named above is not among them.' if choice else ''}")


def _conversion(gathered: Gathered) -> Check:
    failed = [v for v in gathered.variants if not v.ir.parity.passed]
    if failed:
        names = formatting.listed(formatting.form(v.model, v.ir) for v in failed[:3])
        more = f", and {len(failed) - 3} more" if len(failed) > 3 else ""
        state: State = "bad" if len(failed) == len(gathered.variants) else "care"
        return Check("Conversion", state, f"Not equal to the original, and left out: {names}{more}.")
    agree = min(v.ir.parity.top1_agreement for v in gathered.variants)
    total = formatting.count(len(gathered.variants), "converted model")
    least = "on every test image" if agree == 1 else f"on at least {formatting.percent(agree)} of the test images"
    most = max(v.ir.parity.max_abs for v in gathered.variants)
    text = f"{total} within tolerance of Keras, with the same answer {least}; no probability moved by more than {formatting.number(most, 2)}."
    return Check("Conversion", "good", text)


def _without_device(gathered: Gathered) -> Iterator[Check]:
    """Older runtimes and the stick's compiler, where `toolkit check` was run."""
    failed = [check for check in gathered.checks if check.outcome == "failed"]
    passed = formatting.listed(sorted({check.name for check in gathered.checks if check.outcome == "passed"}))
    if failed:
        yield Check(
            "Bundles",
            "bad",
            f"{formatting.count(len(failed), 'check')} failed, first {failed[0].name}: {failed[0].message}.",
        )
    elif passed:
        yield Check("Bundles", "good", f"Without a device these checks passed: {passed}.")


def _on_device(choice: Variant) -> Iterator[Check]:
    """The accuracy pass on the devices against the FP32 reference (rule 6), where there was one."""
    reached = [m.accuracy.accuracy for m in choice.measured if m.accuracy and m.accuracy.accuracy is not None]
    if reached:
        reference = choice.ir.parity.reference_accuracy
        state: State = "good" if min(reached) >= GATE * reference else "bad"
        span = formatting.span((100 * each for each in reached), "%")
        yield Check(
            "Same on the device",
            state,
            f"It reached {span} on the devices; Keras reached {formatting.percent(reference)}.",
        )


def _speed(gathered: Gathered) -> Check:
    if not gathered.records:
        return Check("Speed", "bad", "No device has been measured yet.")
    broken = sum(bool(record.broken_rules) for record in gathered.records)
    rules = formatting.listed(dict.fromkeys(rule for record in gathered.records for rule in record.broken_rules))
    left_out = (
        f" {formatting.count(broken, 'run')} broke a rule ({rules}) and {'is' if broken == 1 else 'are'} left out."
        if broken
        else ""
    )
    if gathered.only_quick:
        text = "Quick runs, below 60 s or 1,024 queries: good for a first look, never to be compared with full ones."
        return Check("Speed", "care", text + left_out)
    return Check("Speed", "care" if broken else "good", f"Full runs by the rules.{left_out}")


def _devices(gathered: Gathered) -> Check:
    machines = {str(record.facts.get("machine") or "unknown") for record in gathered.records}
    if not machines:
        return Check("Devices", "bad", "No device was part of this.")
    models = {str(record.facts.get("model") or "") for record in gathered.records}
    if all("Raspberry Pi" in model for model in models):
        return Check("Devices", "good", f"Measured on {formatting.listed(sorted(models))}.")
    total = formatting.count(len(gathered.devices), "device")
    text = f"Measured on {total} of the kind {formatting.listed(sorted(machines))}, not on Raspberry Pis: expect other speeds there."
    return Check("Devices", "care", text)
