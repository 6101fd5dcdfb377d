"""Classes used in labels that the experiment's own data does not have.

They are recorded by name, for one experiment, so that a misspelt label or one of another experiment never becomes a class by
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from toolkit import hashing
from toolkit.artifacts.labeling import AddedClass
from toolkit.errors import UsageError
from toolkit.loop.decisions import person
from toolkit.progress import strip_control
from toolkit.store import Store

MAX_NAME = 100
"""Characters of a class's name."""


def add_classes(store: Store, experiment: str, names: Sequence[str], known: Sequence[str], *, who: str) -> None:
    """Record classes for an experiment; those that are `known` or recorded already stay as they are.

    Raises:
        UsageError: a name that is empty, too long, or differs from a known one in case or spaces alone; records nothing.
    """
    classes = list(with_added_classes(known, store, experiment))
    added = []
    for name in dict.fromkeys(names):
        if name in classes:
            continue
        if not name or name != strip_control(name).strip() or len(name) > MAX_NAME or "/" in name or name[0] == ".":
            raise UsageError(
                f"{name!r} cannot be the name of a class",
                where="--new-class",
                remedy=f"use up to {MAX_NAME} characters without slashes, and no spaces at either end",
            )
        if same := next((one for one in classes if one.casefold() == name.casefold()), None):
            raise UsageError(f"the class {name!r} differs from {same!r} in case alone", where="--new-class")
        classes.append(name)
        added.append(name)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for name in added:
        digest = hashing.sha256_json({"experiment": experiment, "class": name})
        store.put(AddedClass(digest=digest, experiment=experiment, name=name, who=person(who), at=now))


def with_added_classes(known: Sequence[str], store: Store, experiment: str) -> tuple[str, ...]:
    """`known`, followed by the classes added to the experiment, in the order in which they were."""
    added = (one.name for one in store.all(AddedClass) if one.experiment == experiment)
    return tuple(dict.fromkeys((*known, *added)))
