"""Import an external model, so that it can be converted, checked, deployed and measured like a trained one.

    file ─worker▶ graph, facts ─its runtime on the user's images▶ answers ─output kind, sanity▶ TrainedModel

The reference is the file's own runtime with the preprocessing that the file declares. The file and its external files are
copied into the workspace. Images are required: for the golden samples of a bundle, and for parity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit.artifacts.model import ImportedModel, TrainedModel
from toolkit.convert import parity
from toolkit.convert.imported import dataset, io_adapters, output_kind, sanity
from toolkit.convert.imported.describe import copy_files, count_parameters, describe_model
from toolkit.convert.imported.file_facts import FileFacts, facts_of_files, merged
from toolkit.convert.imported.formats import FORMATS, format_of
from toolkit.convert.imported.model import Inspected, ModelReader, adapt, as_probabilities
from toolkit.convert.imported.options import SCALINGS, ImportOptions, choose_scaling
from toolkit.convert.parity import Images, Probabilities
from toolkit.convert.reference import ReferenceModel, test_images
from toolkit.convert.resolve import resolve_model
from toolkit.errors import DataError, ToolkitError, UsageError
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import openvino as ov

    from toolkit.data import Image

_TRIED = 64
"""Images on which other settings are tried, when a model turns out to be useless with those it has."""


def import_model(
    file: Path, options: ImportOptions, workspace: Workspace, store: Store, progress: Progress
) -> TrainedModel:
    """Read the model in `file`, ask it about the images, and store it among the trained models.

    Raises:
        UsageError: something is needed that neither the file nor an option says: labels, images, scaling, what it returns.
        DataError: the file, the labels or the images cannot be used, or do not fit one another.
        ConversionError: OpenVINO does not know an operation in it.
    """
    progress.log(f"reading {file.name} ({FORMATS[format_of(file)].format})")
    partial = facts_of_files(file)
    size = options.size or partial.size
    with ModelReader(file, size, options.signature) as reader, _naming(file):
        inspected = reader.inspect()
        facts = merged(inspected.facts, partial)
        labels = dataset.read_labels(options.labels, facts.labels)
        spec = _input_spec(inspected, options, size)
        _refuse_integers(inspected, file.name)
        dataset.check_labels(labels, io_adapters.classes_of(inspected.graph), options.labels)
        crop = options.crop or facts.crop or "resize"
        images, labeled = dataset.find_images(options, labels, workspace, progress)
        imported = _describe_file(file, inspected, spec, facts, options, labeled=labeled)
        test, pixels = _test_images(images, spec.size, crop, workspace)
        answers, imported = _ask(reader, pixels, imported, inspected.graph, options)
        if not labeled:
            guesses = parity.top1(answers)
            images = [dataclasses.replace(one, label=int(guess)) for one, guess in zip(test, guesses, strict=True)]
            test = images
        truth = np.array([image.label for image in test], dtype=np.int64)
        if labeled and sanity.is_chance(int(np.sum(parity.top1(answers) == truth)), len(truth), len(labels)):
            if not options.force:
                others = list(_other_settings(reader, pixels, imported, truth))
                raise sanity.chance_error(answers, truth, labels, imported.file, others)
            imported = dataclasses.replace(imported, forced=options.force)
            progress.log(f"  continues because of --force although it is no better than guessing: {options.force}")
    hint = sanity.swapped_labels(answers, truth, labels) if labeled else ""
    if hint:
        progress.log(f"warning: {hint} better")
    split = dataset.make_split(images, labels, Path(str(options.images)), workspace, labeled=labeled)
    copy = copy_files(file, imported, workspace)
    model = describe_model(
        copy, imported, split, spec.size, crop, count_parameters(inspected.graph), (answers, truth), workspace
    )
    reference = ReferenceModel(model, workspace, progress)
    if not (reference.folder / "graph").exists():
        reference.store_graph(adapt(inspected.graph, spec, imported))
    by_path = {image.path: answer for image, answer in zip(test, answers, strict=True)}
    reference.store_answers(
        split, np.stack([by_path[image.path] for image in test_images(model, split, workspace).images])
    )
    store.put(split)
    store.put(model)
    progress.log(f"  imported as {model.network}-{model.head}-{model.stage}, {model.digest[:12]}")
    return model


def find_or_import(
    reference: str, options: ImportOptions, workspace: Workspace, store: Store, progress: Progress
) -> TrainedModel:
    """The trained model that `reference` names or, where labels or images are given, the one in the file of that name.

    Raises:
        UsageError: there is no such model; for a file that was not trained here, names the missing options.
    """
    if options.labels is not None or (options.images is not None and Path(reference).exists()):
        return import_model(Path(reference), options, workspace, store, progress)
    try:
        return resolve_model(reference, workspace, store)
    except UsageError:
        if not Path(reference).exists():
            raise
        format_of(Path(reference))
        remedy = "to import it, add --labels FILE --images FOLDER --scaling NAME"
        raise UsageError("was not trained in this workspace", where=reference, remedy=remedy) from None


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Let errors from within name the model's file before the place in it."""
    try:
        yield
    except ToolkitError as error:
        problems = [dataclasses.replace(each, where=_placed(file, each.where)) for each in error.problems]
        raise type(error).from_problems(problems) from error


def _placed(path: Path, where: str) -> str:
    if where and (Path(where).exists() or str(path.absolute()) in where):
        return where
    return path.name if not where or where == path.name else f"{path.name}: {where}"


def _input_spec(inspected: Inspected, options: ImportOptions, size: tuple[int, int] | None) -> io_adapters.InputSpec:
    """What the model takes; its graph then takes one such image."""
    graph = inspected.graph
    fixed = None if options.size is None and _has_size(graph) else size
    spec = io_adapters.infer_input_spec(graph, options.layout, fixed, FORMATS[inspected.format].usual_layout)
    io_adapters.fix_shape(graph, spec)
    return spec


def _refuse_integers(inspected: Inspected, file: str) -> None:
    """Refuse an output of integers without a scale: the number of a class says nothing of the others."""
    kind = inspected.graph.outputs[0].element_type.get_type_name()
    if kind not in io_adapters.FLOATS and inspected.output_scale is None:
        remedy = "export it with the scores of all classes, without the final ArgMax or TopK"
        raise DataError(f"returns values of type {kind}, not probabilities", where=file, remedy=remedy)


def _has_size(graph: ov.Model) -> bool:
    shape = graph.inputs[0].partial_shape if graph.inputs else None
    return shape is not None and shape.rank.is_static and not any(side.is_dynamic for side in list(shape)[1:])


def _describe_file(
    path: Path,
    inspected: Inspected,
    spec: io_adapters.InputSpec,
    facts: FileFacts,
    options: ImportOptions,
    *,
    labeled: bool,
) -> ImportedModel:
    """How the input and the output are to be read; what the output is follows from the answers."""
    scaling = choose_scaling(options.scaling, spec.dtype, inspected.input_scale, facts.scaling, labeled=labeled)
    integers = inspected.output_scale
    return ImportedModel(
        file=path.name,
        sha256=inspected.digest,
        files=inspected.digests,
        format=inspected.format,
        signature=options.signature,
        dtype=spec.dtype,
        layout=spec.layout,
        color=options.color or (facts.color if options.scaling is None else None) or scaling.color,
        mean=scaling.mean,
        std=scaling.std,
        input_scale=None if inspected.input_scale is None else inspected.input_scale.scale,
        input_zero_point=0 if inspected.input_scale is None else inspected.input_scale.zero_point,
        output="",
        quantized=io_adapters.is_quantized(inspected.graph),
        output_scale=None if integers is None else integers.scale,
        output_zero_point=0 if integers is None else integers.zero_point,
    )


def _test_images(
    images: Sequence[Image], size: tuple[int, int], crop: str, workspace: Workspace
) -> tuple[list[Image], Images]:
    from toolkit import data

    test = [image for image in images if image.subset == "test"]
    if not test:
        raise DataError("has no test images", where="--images", remedy="put some images into a folder test/")
    return test, data.load_images(test, size, crop, workspace=workspace)


def _ask(
    reader: ModelReader, pixels: Images, imported: ImportedModel, graph: ov.Model, options: ImportOptions
) -> tuple[Probabilities, ImportedModel]:
    """The probabilities of the file's own runtime, and the file's description with what it returns."""
    answers = reader.answers([pixels], imported)
    sanity.refuse_useless(answers, imported.file)
    slack = max(5e-2, answers.shape[1] / 512) if imported.quantized or imported.output_scale is not None else 1e-3
    kind = output_kind.decide(answers, output_kind.tail_of(graph), options.output, slack)
    return as_probabilities(answers, kind), dataclasses.replace(imported, output=kind)


def _other_settings(
    reader: ModelReader, pixels: Images, imported: ImportedModel, truth: npt.NDArray[np.int64]
) -> Iterator[tuple[str, float]]:
    """Other options, each with the accuracy that the model would have with it on some of the images."""
    chosen = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), _TRIED)).astype(int))
    changes: dict[str, dict[str, Any]] = {f"--color {color}": {"color": color} for color in ("RGB", "BGR")}
    if imported.dtype not in io_adapters.RANGES or imported.input_scale is not None:
        changes |= {f"--scaling {name}": dataclasses.asdict(scaling) for name, scaling in SCALINGS.items()}
    for option, change in changes.items():
        answers = reader.answers([pixels[chosen]], dataclasses.replace(imported, **change))
        accuracy = parity.accuracy(as_probabilities(answers, imported.output), truth[chosen])
        yield option, accuracy
