"""Resolve the argument MODEL of a command."""

from __future__ import annotations

from pathlib import Path

from toolkit.artifacts.model import TrainedModel
from toolkit.bundle.resolve import bundle_folder, has_bundle
from toolkit.convert.reference import ReferenceModel
from toolkit.device.layout import model_file
from toolkit.errors import UsageError
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace


def resolve_model(reference: str, workspace: Workspace, store: Store) -> TrainedModel:
    """The model whose digest begins so, whose name (network-head-stage) or path in the workspace it is.

    Of several with the name, the newest.

    Raises:
        UsageError: none or several match; lists those that exist.
    """
    known = store.all(TrainedModel)
    named = [model for model in known if model.name == reference or _is_path(reference, model, workspace)]
    if named:
        return named[-1]
    matches = store.starting_with(TrainedModel, reference)
    if len(matches) == 1:
        return matches[0]
    if not matches and Path(reference).is_dir():
        raise UsageError(
            "is a folder without a model in it",
            where=reference,
            remedy=f"to check a data set: `toolkit data inspect {reference}`",
        )
    listed = ", ".join(f"{model.digest[:12]} {model.name}" for model in matches or known)
    raise UsageError(
        f"{reference!r} names {'several models' if matches else 'no trained model'}",
        where=str(workspace.root),
        remedy=f"one of: {listed}" if listed else "train one first: `toolkit train EXPERIMENT.toml`",
    )


def resolve_ir(reference: str, workspace: Workspace, store: Store, progress: Progress) -> Path:
    """The .xml of an IR file, of a bundle (folder, name or digest), or of a trained model (traced if it was not yet).

    Raises:
        UsageError: it names none of them.
    """
    if reference.endswith(".xml") and Path(reference).exists():
        return Path(reference)
    if has_bundle(reference, store):
        return require_ir(bundle_folder(reference, workspace, store))
    return ReferenceModel(resolve_model(reference, workspace, store), workspace, progress).graph


def require_ir(folder: Path) -> Path:
    """The .xml of the bundle in `folder`.

    Raises:
        UsageError: its model is for another runtime than OpenVINO.
    """
    path = model_file(folder)
    if path.suffix != ".xml":
        raise UsageError(
            f"holds {path.name}, no OpenVINO IR", where=str(folder), remedy="name a bundle for another target"
        )
    return path


def _is_path(reference: str, model: TrainedModel, workspace: Workspace) -> bool:
    own = workspace.absolute(model.path).resolve()
    return own in {Path(reference).resolve(), workspace.absolute(reference).resolve()}
