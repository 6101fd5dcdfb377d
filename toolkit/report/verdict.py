"""The first answer of the report: which model to ship, on which device, and whether to trust it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from toolkit.report import words
from toolkit.report.compare import not_told_apart
from toolkit.report.gather import Gathered, Variant

GATE = 0.99
"""A model counts as good as the best from this share of its accuracy (bench rule 6)."""

State = Literal["good", "care", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """One reason to trust the figures, or not."""

    title: str
    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to ship and why."""

    choice: Variant | None
    """None when no form of any model passed parity."""
    headline: str
    reason: str
    checks: tuple[Check, ...]


def judge(gathered: Gathered) -> Verdict:
    """The fastest of those as accurate as the best, among the models whose conversion holds."""
    sound = [variant for variant in gathered.variants if variant.ir.parity.passed]
    if not sound:
        why = "No model has been converted and found equal to its original."
        checks = (_data(gathered), _training(gathered), *((_conversion(gathered),) if gathered.variants else ()))
        return Verdict(None, "Nothing can be shipped yet", why, checks)
    best = max(variant.accuracy for variant in sound)
    choice = min((v for v in sound if v.accuracy >= GATE * best), key=_cost)
    return Verdict(
        choice,
        f"Ship {words.model(choice.model, choice.ir.precision)}",
        _reason(choice, best),
        _checks(gathered, choice),
    )


def _cost(variant: Variant) -> tuple[float, int, float]:
    """What is better sorts first: fast on the slowest device, then small, then accurate."""
    slowest = variant.slowest_ms
    return float("inf") if slowest is None else slowest, variant.ir.size_bytes, -variant.accuracy


def _reason(choice: Variant, best: float) -> str:
    pictures = choice.ir.parity.pictures
    accuracy = (
        f"It gets {words.percent(choice.accuracy)} of {pictures:,} test pictures right "
        f"(95 % interval {words.interval(*choice.interval)})"
    )
    place = "the best seen" if choice.accuracy == best else f"within 1 % of the best seen ({words.percent(best)})"
    latencies = [each.p90_ms for each in choice.measured if each.p90_ms is not None]
    if not latencies:
        return f"{accuracy}, {place}. Its speed has not been measured."
    speed = f"answers within {words.span(latencies, 'ms')} (p90) on {words.count(len(latencies), 'device')}"
    return f"{accuracy}, {place}, and {speed}; none as accurate is faster on its slowest device."


def _checks(gathered: Gathered, choice: Variant) -> tuple[Check, ...]:
    return (
        _data(gathered),
        _accuracy(gathered, choice),
        _training(gathered),
        _conversion(gathered),
        *_on_device(choice),
        _speed(gathered),
        _devices(gathered),
    )


def _data(gathered: Gathered) -> Check:
    if gathered.notes:
        text = (
            f"{words.listed(gathered.notes).capitalize()}: every figure here comes from made pictures. They show that "
            "the line works and how its models compare, not how well one does in the street."
        )
        return Check("Data", "care", text)
    if len(gathered.splits) != 1:
        return Check("Data", "bad", "The models were not all trained and judged on the same split of the data.")
    return Check("Data", "good", f"All models saw the same split of {gathered.splits[0].name}.")


def _accuracy(gathered: Gathered, choice: Variant) -> Check:
    low, high = choice.interval
    alike = len(not_told_apart(gathered, choice.model))
    others = f" {words.count(alike, 'other model')} cannot be told from it on these pictures." if alike else ""
    text = f"The test set leaves {100 * (high - low):.1f} points of uncertainty.{others}"
    return Check("Accuracy", "good" if high - low <= 0.05 else "care", text)


def _training(gathered: Gathered) -> Check:
    warned = {words.model(m): m.warnings[0].partition(". ")[0] for m in gathered.models if m.warnings}
    if warned:
        text = " ".join(f"{name}: {why.rstrip('.')}." for name, why in list(warned.items())[:2])
        return Check("Training", "care", f"{words.count(len(warned), 'model')} with a warning. {text}")
    return Check("Training", "good", f"{words.count(len(gathered.models), 'model')} trained without a warning.")


def _conversion(gathered: Gathered) -> Check:
    failed = [v for v in gathered.variants if not v.ir.parity.passed]
    if failed:
        names = words.listed(words.model(v.model, v.ir.precision) for v in failed)
        return Check("Conversion", "bad", f"Not equal to the original: {names}.")
    agree = min(v.ir.parity.top1_agreement for v in gathered.variants)
    total = words.count(len(gathered.variants), "converted model")
    least = "on every test picture" if agree == 1 else f"on at least {words.percent(agree)} of the test pictures"
    return Check("Conversion", "good", f"{total} within tolerance of Keras, with the same answer {least}.")


def _on_device(choice: Variant) -> Iterator[Check]:
    """The accuracy pass on the devices against the FP32 reference (rule 6), where there was one."""
    reached = [m.accuracy.accuracy for m in choice.measured if m.accuracy and m.accuracy.accuracy is not None]
    if reached:
        reference = choice.ir.parity.reference_accuracy
        state: State = "good" if min(reached) >= GATE * reference else "bad"
        span = words.span((100 * each for each in reached), "%")
        yield Check(
            "Same on the device", state, f"It reached {span} on the devices; Keras reached {words.percent(reference)}."
        )


def _speed(gathered: Gathered) -> Check:
    if not gathered.records:
        return Check("Speed", "bad", "No device has been measured yet.")
    broken = sum(bool(record.broken_rules) for record in gathered.records)
    left_out = (
        f" {words.count(broken, 'run')} broke a rule and {'is' if broken == 1 else 'are'} left out." if broken else ""
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
        return Check("Devices", "good", f"Measured on {words.listed(sorted(models))}.")
    total = words.count(len(gathered.devices), "device")
    text = f"Measured on {total} of the kind {words.listed(sorted(machines))}, not on Raspberry Pis: expect other speeds there."
    return Check("Devices", "care", text)
