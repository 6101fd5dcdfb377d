"""What the store holds from before: earlier speeds of the same forms, and what each device was given last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolkit.artifacts import BenchRecord, Bundle, Deployment, IrModel, TrainedModel
from toolkit.report import words
from toolkit.report.readings import is_valid, p90_ms
from toolkit.store import Store


@dataclass(frozen=True, slots=True)
class Past:
    """One valid latency of a form of a model, now or before; `current` if this report shows the record itself."""

    name: str
    device: str
    accelerator: str
    quick: bool
    at: str
    p90_ms: float
    digest: str
    current: bool


def last_given(store: Store, devices: set[str]) -> tuple[Deployment, ...]:
    """The newest deployment of each of `devices` that changed it, whatever it was of; where none did, the newest."""
    newest = {each.device: each for each in sorted(store.all(Deployment), key=_last_told)}
    return tuple(newest[device] for device in sorted(devices))


def _last_told(each: Deployment) -> tuple[bool, str]:
    """A device that was found unchanged is one that was given the same before."""
    return each.outcome != "unchanged", each.at


def valid_latencies(store: Store, models: Iterable[TrainedModel], current: frozenset[str]) -> Iterator[Past]:
    """Of all models, replaced ones too, that were trained for the same places in the experiment."""
    places = {(m.experiment, m.network, m.head, m.stage) for m in models}
    for model in store.all(TrainedModel):
        if (model.experiment, model.network, model.head, model.stage) not in places:
            continue
        for ir in store.all(IrModel, parent=model.digest):
            name = words.form(model, ir)
            for bundle in store.all(Bundle, parent=ir.digest):
                for r in store.all(BenchRecord, parent=bundle.digest):
                    p90 = p90_ms(r)
                    if p90 is not None and is_valid(r):
                        yield Past(name, r.device, r.accelerator, r.quick, r.at, p90, r.digest, r.digest in current)
