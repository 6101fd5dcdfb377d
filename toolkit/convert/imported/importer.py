"""A model that was not trained here becomes one that everything else can work on: converted, checked, deployed, measured.

    file ─read▶ graph ─its ends▶ what it takes and gives ─its own runtime on the user's images▶ TrainedModel with no history

The file is copied into the workspace. Images are needed: a bundle proves its answers by some, and parity is shown on them.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit import hashing
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import Evaluation, ImportedModel, TrainedModel
from toolkit.convert import parity
from toolkit.convert.imported import formats, io_adapters
from toolkit.convert.imported.images import build_split, check_labels, read_labels
from toolkit.convert.imported.model import ImportedGraph
from toolkit.convert.imported.options import ImportOptions
from toolkit.convert.parity import Probabilities
from toolkit.convert.resolve import resolve_model
from toolkit.errors import DataError, ToolkitError, UsageError
from toolkit.progress import Progress
from toolkit.stats import intervals
from toolkit.store import Store
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import openvino as ov


STAGE = "imported"
_ALIKE = 1e-6
"""Answers that differ less than this between all images are one answer."""


def import_model(
    file: Path, said: ImportOptions, workspace: Workspace, store: Store, progress: Progress
) -> TrainedModel:
    """Read the model in `file`, ask it about the images, and put it among the trained ones.

    Raises:
        UsageError: a word that is needed was not said: its labels, its images, its scaling.
        DataError: the file, the labels or the images cannot be used, or do not fit one another.
        ConversionError: OpenVINO does not know an operation in it.
    """
    form = formats.format_of(file)
    progress.log(f"reading {file.name} ({form})")
    labels = read_labels(said.labels)
    graph, imported, size = _opened(file, form, said)
    check_labels(labels, io_adapters.classes_of(graph), said.labels)
    opened = ImportedGraph(file, imported, size)
    split = build_split(opened, labels, said, workspace, progress)
    answers, truth = _answers(opened, split, said.crop, workspace)
    _refuse_nonsense(answers, imported)
    kept = ImportedGraph(_copied(opened, workspace), imported, size)
    model = _described(kept, split, labels, graph, (answers, truth), said, workspace)
    store.put(split)
    store.put(model)
    progress.log(f"  known as {model.network}-{model.head}-{model.stage}, {model.digest[:12]}")
    return model


def find_or_import(
    words: str, said: ImportOptions, workspace: Workspace, store: Store, progress: Progress
) -> TrainedModel:
    """The trained model that is meant or, where labels are given, the one in the file of that name.

    Raises:
        UsageError: there is none; of a file that was not trained here, says what is needed.
    """
    if said.labels is not None:
        return import_model(Path(words), said, workspace, store, progress)
    try:
        return resolve_model(words, workspace, store)
    except UsageError:
        if not Path(words).exists():
            raise
        remedy = "--labels FILE --images FOLDER --scaling WORDS make a bundle of a model from elsewhere"
        raise UsageError("was not trained in this workspace", where=words, remedy=remedy) from None


def _copied(opened: ImportedGraph, workspace: Workspace) -> Path:
    """The file as the workspace keeps it, in a folder named by its digest."""
    place = workspace.folder("imported", opened.imported.sha256) / opened.path.name
    if not place.exists():
        with tempfile.TemporaryDirectory(prefix=".part-", dir=place.parent) as beside:
            new = Path(beside) / place.name
            (shutil.copytree if opened.path.is_dir() else shutil.copyfile)(opened.path, new)
            new.replace(place)
    return place


def _opened(path: Path, form: str, said: ImportOptions) -> tuple[ov.Model, ImportedModel, tuple[int, int]]:
    """The graph with its batch fixed, and how its ends are to be read."""
    try:
        graph = formats.read(path, form, said.size)
        entry = io_adapters.infer_input_spec(graph, said.layout, said.size, formats.USUAL_LAYOUT[form])
        io_adapters.fix_shape(graph, entry)
        io_adapters.classes_of(graph)
        scaling = said.scaling_of(entry.kind)
    except ToolkitError as error:
        raise type(error).from_problems(
            [dataclasses.replace(problem, where=_placed(path, problem.where)) for problem in error.problems]
        ) from error
    given = graph.outputs[0].element_type.get_type_name()
    integers = None if given in io_adapters.FLOATS else formats.output_quantization(path, form)
    if given not in io_adapters.FLOATS and integers is None:
        raise DataError(f"gives numbers of type {given}, not probabilities", where=path.name)
    known = io_adapters.last_operation(graph) in {"Softmax", "Sigmoid"}
    imported = ImportedModel(
        file=path.name,
        sha256=formats.digest_of(path),
        format=form,
        dtype=entry.kind,
        layout=entry.layout,
        color=said.color or scaling.color,
        mean=scaling.mean,
        std=scaling.std,
        output=said.output or ("probabilities" if known else "logits"),
        quantized=io_adapters.is_quantized(graph),
        output_scale=None if integers is None else integers.scale,
        output_zero_point=0 if integers is None else integers.zero,
    )
    return graph, imported, entry.size


def _placed(path: Path, where: str) -> str:
    return str(path.name) if not where or where == str(path) else f"{path.name}: {where}"


def _answers(
    opened: ImportedGraph, split: Split, crop: str, workspace: Workspace
) -> tuple[Probabilities, npt.NDArray[np.int64]]:
    """What the file's own runtime says of the test images, and what is right."""
    from toolkit import data

    test = [image for image in data.read_manifest(split, workspace) if image.part == "test"]
    if not test:
        raise DataError("has no test images", where=split.name, remedy="put some into a folder test/")
    pixels = data.load_images(test, opened.size, crop, workspace=workspace)
    return opened.predict([pixels]), np.array([image.label for image in test], dtype=np.int64)


def _refuse_nonsense(answers: Probabilities, imported: ImportedModel) -> None:
    remedy = "see that --scaling, --color, --layout and --output are those it was trained with"
    if not np.isfinite(answers).all():
        raise DataError("answers with numbers that are none (NaN or infinite)", where=imported.file, remedy=remedy)
    if len(answers) > 1 and float(np.ptp(answers, axis=0).max()) < _ALIKE:
        raise DataError(f"answers all {len(answers)} images alike", where=imported.file, remedy=remedy)
    sums = answers.sum(axis=1)
    slack = 0.05 if imported.quantized else 1e-3
    odd = answers.shape[1] > 1 and bool(np.abs(sums - 1).max() > slack)
    if odd or answers.min() < -slack or answers.max() > 1 + slack:
        told = f"gives {answers.min():.3g} to {answers.max():.3g}, in sum {sums.min():.3g} to {sums.max():.3g}"
        remedy = "say --output logits; several labels to an image can only be had from models trained here"
        raise DataError(f"{told}, which are not the probabilities of classes", where=imported.file, remedy=remedy)


def _described(
    opened: ImportedGraph,
    split: Split,
    labels: tuple[str, ...],
    graph: ov.Model,
    judged: tuple[Probabilities, npt.NDArray[np.int64]],
    said: ImportOptions,
    workspace: Workspace,
) -> TrainedModel:
    answers, truth = judged
    imported = opened.imported
    told = dataclasses.asdict(imported) | {"crop": said.crop, "size": list(opened.size), "split": split.digest}
    return TrainedModel(
        digest=hashing.sha256_json(_plain(told)),
        parent=split.digest,
        run=imported.sha256,
        experiment="",
        network=re.sub(r"[^a-z0-9]+", "_", opened.path.stem.lower()).strip("_") or "model",
        head="sigmoid" if answers.shape[1] == 1 else "softmax",
        stage=STAGE,
        weights=imported.file,
        note=split.note,
        labels=labels,
        input_size=opened.size,
        crop=said.crop,
        scaling=f"(x - {list(imported.mean)}) / {list(imported.std)}, {imported.color}",
        path=workspace.relative(opened.path),
        parameters=sum(_elements(node) for node in graph.get_ops()),
        history=(),
        evaluation=_evaluation(answers, truth),
        seconds=0.0,
        imported=imported,
    )


def _elements(node: Any) -> int:
    if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() not in {"f32", "f16", "i8", "u8"}:
        return 0
    return int(np.prod(list(node.get_output_shape(0)), dtype=np.int64))


def _evaluation(answers: Probabilities, truth: npt.NDArray[np.int64]) -> Evaluation:
    """Accuracy and mean loss of the file's own runtime; the rest is for models that were trained here."""
    guesses = parity.top1(answers)
    right = int(np.sum(guesses == truth))
    whole = np.hstack([1 - answers, answers]) if answers.shape[1] == 1 else answers
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
