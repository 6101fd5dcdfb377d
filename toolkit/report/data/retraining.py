"""The newest retraining of an experiment, and what it learned from: device, release and policy of every labeled capture."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.labeling import CLASS, DatasetVersion, LabelDecision, Retraining
from toolkit.store import Store


@dataclass(frozen=True, slots=True)
class LearnedFrom:
    """Captures of one device, release and policy that are in the version of the data set."""

    device: str
    release: str
    """The digest of the release whose model answered."""
    policy: str
    subsets: tuple[tuple[str, int], ...]
    """How many are in each subset."""
    people: tuple[str, ...]
    """Who gave them a class."""


@dataclass(frozen=True, slots=True)
class RetrainingData:
    """A retraining with both ends of its lineage."""

    result: Retraining
    learned_from: tuple[LearnedFrom, ...]
    deployments: tuple[Deployment, ...]
    """Of its bundle, whatever their outcome."""


def load_retraining(store: Store, experiment: str) -> RetrainingData | None:
    """The retraining of the experiment recorded last; None if there is none."""
    results = [one for one in store.all(Retraining) if one.experiment == experiment]
    version = store.get(DatasetVersion, results[-1].version_digest) if results else None
    if version is None:
        return None
    people: dict[str, set[str]] = {}
    for decision in store.all(LabelDecision):
        if decision.verdict == CLASS:
            people.setdefault(decision.parent, set()).add(decision.who)
    groups: dict[tuple[str, str, str], list[str]] = {}
    for digest in version.captures:
        if capture := store.get(CapturedImage, digest):
            groups.setdefault((capture.device, capture.parent, capture.policy), []).append(digest)
    learned = (
        LearnedFrom(
            *key,
            subsets=tuple(sorted(Counter(version.captures[digest] for digest in digests).items())),
            people=tuple(sorted({who for digest in digests for who in people.get(digest, ())})),
        )
        for key, digests in sorted(groups.items())
    )
    bundle = results[-1].bundle
    deployments = store.all(Deployment, parent=bundle) if bundle else ()
    return RetrainingData(results[-1], tuple(learned), deployments)
