"""The model that a person's words mean."""

from __future__ import annotations

from pathlib import Path

from toolkit.artifacts.model import TrainedModel
from toolkit.bundle.resolve import bundle_folder, has_bundle
from toolkit.convert.reference import ReferenceModel
from toolkit.errors import UsageError
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace


def resolve_model(words: str, workspace: Workspace, store: Store) -> TrainedModel:
    """The model whose digest begins so, whose name (network-head-stage) or path in the workspace it is.

    Of several with the name, the newest.

    Raises:
        UsageError: there is none, or several digests begin so; lists what there is.
    """
    known = store.all(TrainedModel)
    named = [model for model in known if model.name == words or _is_path(words, model, workspace)]
    if named:
        return named[-1]
    found = store.starting_with(TrainedModel, words)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{model.digest[:12]} {model.name}" for model in found or known)
    raise UsageError(
        f"{words!r} names {'several models' if found else 'no trained model'}",
        where=str(workspace.root),
        remedy=f"one of: {listed}" if listed else "train one first: `toolkit train EXPERIMENT.toml`",
    )


def resolve_ir(words: str, workspace: Workspace, store: Store, progress: Progress) -> Path:
    """The .xml of an IR file, of a bundle (folder, name or digest), or of a trained model (traced if it was not yet).

    Raises:
        UsageError: the words name none of them.
    """
    if words.endswith(".xml") and Path(words).exists():
        return Path(words)
    if has_bundle(words, store):
        return bundle_folder(words, workspace, store) / "model.xml"
    return ReferenceModel(resolve_model(words, workspace, store), workspace, progress).graph


def _is_path(words: str, model: TrainedModel, workspace: Workspace) -> bool:
    own = workspace.absolute(model.path).resolve()
    return own in {Path(words).resolve(), workspace.absolute(words).resolve()}
