"""The captures of a labeling session: what the page shows of each, and what a person decides about them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.labeling import CLASS, VERDICTS, LabelDecision
from toolkit.loop.decisions import Choice, record, standing_decisions, undo
from toolkit.store import Store

SUGGESTIONS = 3
MAX_BATCH = 5_000
"""Captures that one keystroke may decide about."""


@dataclass(frozen=True)
class LabelQueue:
    """Captures in the order in which they are shown; its methods may be called by several threads."""

    experiment: str
    classes: tuple[str, ...]
    captures: Sequence[CapturedImage]
    clusters: Mapping[str, int]
    """Captures with the same number look alike to the network; by digest, none if they were not clustered."""
    store: Store
    who: str
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self) -> dict[str, Any]:
        """Everything the page needs."""
        with self._lock:
            standing = standing_decisions(self.store)
        items = [self._item(capture, standing.get(capture.digest)) for capture in self.captures]
        return {"experiment": self.experiment, "who": self.who, "classes": self.classes, "items": items}

    def decide(self, digests: object, verdict: object, label: object) -> dict[str, Any]:
        """Record one decision about each capture.

        Raises:
            ValueError: they are not captures of this session, or it is no decision; says so.
        """
        known = {capture.digest for capture in self.captures}
        if not isinstance(digests, list) or not 0 < len(digests) <= MAX_BATCH:
            raise ValueError(f"'captures' must be a list of 1 to {MAX_BATCH} digests")
        if not all(isinstance(digest, str) and digest in known for digest in digests):
            raise ValueError("'captures' names an image that is not shown")
        if verdict not in VERDICTS or (label not in self.classes if verdict == CLASS else label not in {None, ""}):
            raise ValueError("'verdict' and 'label' are not a decision of this experiment")
        choices = [Choice(digest, str(verdict), str(label or "")) for digest in dict.fromkeys(digests)]
        with self._lock:
            record(self.store, choices, who=self.who)
        return {"decided": {choice.capture: {"verdict": choice.verdict, "label": choice.label} for choice in choices}}

    def undo(self) -> dict[str, Any]:
        """Take back the last decisions of this person; returns what holds about these captures now."""
        with self._lock:
            undone = undo(self.store, who=self.who)
            standing = standing_decisions(self.store)
        return {"decided": {one.parent: _decision(standing.get(one.parent)) for one in undone}}

    def has_image(self, digest: str) -> bool:
        """Whether a digest is that of a capture that is shown."""
        return any(capture.digest == digest for capture in self.captures)

    def _item(self, capture: CapturedImage, decision: LabelDecision | None) -> dict[str, Any]:
        return {
            "digest": capture.digest,
            "device": capture.device,
            "camera": capture.camera,
            "time": capture.time[:19],
            "policy": capture.policy,
            "score": capture.confidence if capture.score is None else capture.score,
            "suggestions": self._suggestions(capture),
            "cluster": self.clusters.get(capture.digest, -1),
            "decision": _decision(decision),
        }

    def _suggestions(self, capture: CapturedImage) -> list[tuple[str, float]]:
        """The likeliest classes of the model that answered, as far as the experiment has them."""
        ranked = sorted(zip(self.classes, capture.probabilities, strict=False), key=lambda pair: -pair[1])
        if len(capture.probabilities) > len(self.classes) or not ranked or ranked[0][0] != capture.label:
            return [(capture.label, round(capture.confidence, 4))] if capture.label in self.classes else []
        return [(label, round(probability, 4)) for label, probability in ranked[:SUGGESTIONS]]


def _decision(decision: LabelDecision | None) -> dict[str, str] | None:
    return None if decision is None else {"verdict": decision.verdict, "label": decision.label}
