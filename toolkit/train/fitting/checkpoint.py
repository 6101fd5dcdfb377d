"""Checkpoints: everything an interrupted run needs to resume bit-identically, in one file, written atomically each epoch.

Shuffles are drawn from (seed, stage, epoch), so no random state is stored besides the model's own variables, which include
those of its random layers.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import files
from toolkit.artifacts.model import Epoch
from toolkit.networks import tf_compat


@dataclass(slots=True)
class TrainingState:
    """How far a stage has come: its epochs, and the best model so far by validation loss."""

    epochs: list[Epoch] = field(default_factory=list)
    best_loss: float = float("inf")
    best_epoch: int = 0
    best: list[np.ndarray] = field(default_factory=list)

    def enough(self, epochs: int, patience: int | None) -> bool:
        """Whether all epochs are done, or `patience` of them went by without a better one."""
        done = len(self.epochs)
        return done >= epochs or (patience is not None and done - self.best_epoch >= patience)


def save(
    path: Path, state: TrainingState, variables: Sequence[Any], optimizer: Sequence[Any], *, averaged: bool = False
) -> None:
    """Write model and optimizer variables and the state, whole; `averaged`: the best weights are not the model's own."""
    facts = {
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "best_loss": state.best_loss,
        "best_epoch": state.best_epoch,
    }
    arrays = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
    arrays |= {f"model{index}": tf_compat.array(variable) for index, variable in enumerate(variables)}
    arrays |= {f"optimizer{index}": tf_compat.array(variable) for index, variable in enumerate(optimizer)}
    if averaged or state.best_epoch != len(state.epochs):
        arrays |= {f"best{index}": array for index, array in enumerate(state.best)}
    with files.atomic_write(path) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy's stubs take the keywords for its own flag


def restore(path: Path, variables: Sequence[Any], optimizer: Sequence[Any]) -> TrainingState:
    """Put a checkpoint's values into the variables; a new state if there is no checkpoint that fits them."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (FileNotFoundError, zipfile.BadZipFile, ValueError):
        return TrainingState()
    for prefix, targets in (("model", variables), ("optimizer", optimizer)):
        for index, variable in enumerate(targets):
            variable.assign(arrays[f"{prefix}{index}"])
    facts = json.loads(arrays["facts"].tobytes())
    prefix = "best" if "best0" in arrays else "model"
    return TrainingState(
        epochs=[Epoch(**epoch) for epoch in facts["epochs"]],
        best_loss=facts["best_loss"],
        best_epoch=facts["best_epoch"],
        best=[arrays[f"{prefix}{index}"] for index in range(len(variables))],
    )
