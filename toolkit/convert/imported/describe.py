"""The copy of an imported model in the workspace, and its entry among the trained models."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit import files, hashing
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import Evaluation, ImportedModel, TrainedModel
from toolkit.convert import parity
from toolkit.convert.parity import Probabilities
from toolkit.device import rejection
from toolkit.errors import DataError
from toolkit.stats import intervals
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import openvino as ov

STAGE = "imported"


def copy_files(file: Path, imported: ImportedModel, workspace: Workspace) -> Path:
    """The model's files as the workspace keeps them, in a folder named by their digest; the path of the model there.

    Raises:
        DataError: they changed since they were read.
    """
    source = file.parent if file.name == "saved_model.pb" else file
    place = workspace.folder("imported", imported.sha256) / source.name
    if place.exists():
        return place
    with files.part_folder(place.parent) as partial:
        folder = partial / source.name if source.is_dir() else partial
        origin = source if source.is_dir() else source.parent
        for name, digest in imported.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / name, folder / name)
            if hashing.sha256_file(folder / name) != digest:
                raise DataError("changed while it was imported", where=str(origin / name), remedy="import it again")
        names = {source.name} if source.is_dir() else {name.split("/")[0] for name in imported.files}
        for name in sorted(
            names, key=lambda name: name == source.name
        ):  # the model itself last: it stands for the whole
            (partial / name).replace(place.parent / name)
    return place


def describe_model(
    path: Path,
    imported: ImportedModel,
    split: Split,
    size: tuple[int, int],
    crop: str,
    parameters: int,
    judged: tuple[Probabilities, npt.NDArray[np.int64]],
    workspace: Workspace,
) -> TrainedModel:
    """Return the store's entry of an imported model; `judged`: its outputs on the test images, and the true labels."""
    answers, truth = judged
    described = dataclasses.asdict(imported) | {"crop": crop, "size": list(size), "split": split.digest}
    return TrainedModel(
        digest=hashing.sha256_json(_plain(described)),
        parent=split.digest,
        run=imported.sha256,
        experiment="",
        network=re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "model",
        head="sigmoid" if answers.shape[1] == 1 else "softmax",
        stage=STAGE,
        weights=imported.file,
        note=split.note,
        labels=split.labels,
        input_size=size,
        crop=crop,
        scaling=f"(x - {list(imported.mean)}) / {list(imported.std)}, {imported.color}",
        path=workspace.relative(path),
        parameters=parameters,
        history=(),
        evaluation=_evaluation(answers, truth),
        seconds=0.0,
        imported=imported,
    )


def count_parameters(graph: ov.Model) -> int:
    """The elements of all constants that may be weights."""
    return sum(_elements(node) for node in graph.get_ops())


def _elements(node: Any) -> int:
    if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() not in {"f32", "f16", "i8", "u8"}:
        return 0
    return int(np.prod(list(node.get_output_shape(0)), dtype=np.int64))


def _evaluation(answers: Probabilities, truth: npt.NDArray[np.int64]) -> Evaluation:
    """Accuracy and mean loss of the file's own runtime; the rest is for models that were trained here."""
    guesses = parity.top1(answers)
    right = int(np.sum(guesses == truth))
    whole = rejection.of_each_class(answers)
    loss = float(-np.log(np.maximum(whole[np.arange(len(truth)), truth], 1e-7)).mean())
    return Evaluation(
        subset="test",
        images=len(truth),
        loss=loss,
        accuracy=right / len(truth),
        interval=intervals.wilson(right, len(truth)),
        top5=None,
        classes=(),
        confusion=(),
        predictions=tuple(int(guess) for guess in guesses),
    )


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: list(item) if isinstance(item, tuple) else item for key, item in value.items()}
