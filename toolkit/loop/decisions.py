"""Record decisions about captures, and read those that apply.

Records are only ever appended. Of a capture's decisions the last one that was not undone holds.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from toolkit import hashing
from toolkit.artifacts.labeling import CLASS, UNDO, VERDICTS, LabelDecision
from toolkit.progress import strip_control
from toolkit.store import Store

MAX_WHO = 200
"""Characters of a name that are recorded."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision to record: `capture` is a digest, `label` a class name if `verdict` is CLASS."""

    capture: str
    verdict: str
    label: str = ""
    who: str = ""
    """Unset: the user who records it."""
    at: str = ""
    """Unset: now."""


def record(store: Store, choices: Iterable[Choice], *, who: str, origin: str = "page") -> tuple[LabelDecision, ...]:
    """Append decisions as one batch.

    Raises:
        ValueError: a verdict that a person cannot give, or a class without its name.
    """
    batch, now = secrets.token_hex(8), datetime.now(UTC).isoformat(timespec="milliseconds")
    decisions = tuple(_decision(choice, who, now, batch, origin) for choice in choices)
    for decision in decisions:
        store.put(decision)
    return decisions


def undo(store: Store, *, who: str) -> tuple[LabelDecision, ...]:
    """Take back the newest batch of `who` that still holds; returns the decisions taken back, none if there is none."""
    who = person(who)
    history = store.all(LabelDecision)
    undone = {decision.undoes for decision in history if decision.verdict == UNDO}
    mine = [d for d in history if d.who == who and d.verdict != UNDO and d.digest not in undone]
    if not mine:
        return ()
    last = tuple(decision for decision in mine if decision.batch == mine[-1].batch)
    batch, now = secrets.token_hex(8), datetime.now(UTC).isoformat(timespec="milliseconds")
    for decision in last:
        fields = {"parent": decision.parent, "verdict": UNDO, "who": who, "at": now, "undoes": decision.digest}
        store.put(LabelDecision(digest=_digest(fields, batch), batch=batch, **fields))
    return last


def standing_decisions(store: Store) -> dict[str, LabelDecision]:
    """The decision that holds about each capture, by the capture's digest."""
    return standing(store.all(LabelDecision))


def standing(history: Iterable[LabelDecision]) -> dict[str, LabelDecision]:
    """The decisions of `history`, oldest first, that hold."""
    decisions = tuple(history)
    undone = {decision.undoes for decision in decisions if decision.verdict == UNDO}
    return {d.parent: d for d in decisions if d.verdict != UNDO and d.digest not in undone}


def person(name: str) -> str:
    """A person's name as it is recorded: one line, without control characters."""
    return " ".join(strip_control(name).split())[:MAX_WHO] or "nobody"


def _decision(choice: Choice, who: str, now: str, batch: str, origin: str) -> LabelDecision:
    if choice.verdict not in VERDICTS or (choice.verdict == CLASS) != bool(choice.label):
        raise ValueError(f"not a decision: {choice.verdict!r} {choice.label!r}")
    fields = {
        "parent": choice.capture,
        "verdict": choice.verdict,
        "label": choice.label,
        "who": person(choice.who or who),
        "at": choice.at or now,
        "origin": origin,
    }
    return LabelDecision(digest=_digest(fields, batch), batch=batch, **fields)


def _digest(fields: Mapping[str, str], batch: str) -> str:
    """Every decision has its own, even if it repeats another."""
    return hashing.sha256_json({**fields, "batch": batch})
