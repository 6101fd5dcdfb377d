"""The reference model of conversions: its float32 graph, and the answers of its own runtime.

Both are computed once per model and cached under workspace/ir/sources; all precisions and targets share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit import __version__, files, hashing, networks
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.bundle.verify import verify_bundle
from toolkit.convert import graphs, keras_reference
from toolkit.convert.imported.formats import FORMATS
from toolkit.convert.imported.model import ImportedGraph
from toolkit.convert.parity import Images, Labels, Probabilities
from toolkit.device import rejection
from toolkit.errors import BundleError, DataError
from toolkit.files import atomic_write
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import keras
    import openvino as ov

    from toolkit.data import Image

_CHUNK = 128


def versions() -> Mapping[str, str]:
    """What decides an IR's bytes besides the model."""
    from importlib.metadata import version

    return {"toolkit": __version__, "openvino": version("openvino"), "keras": version("keras")}


@dataclass(frozen=True)
class TestImages:
    """The images of a split's test part, and what one model sees of them."""

    images: tuple[Image, ...]
    pixels: Images
    """u8 [n,H,W,3] RGB, mapped from the workspace's cache."""
    labels: Labels
    """The true ones."""

    def chunks(self) -> Iterator[Images]:
        """The pixels, a few images at a time."""
        for start in range(0, len(self.pixels), _CHUNK):
            yield self.pixels[start : start + _CHUNK]


@dataclass(frozen=True)
class ReferenceModel:
    """A trained model opened for conversion; each part is computed on first use."""

    model: TrainedModel
    workspace: Workspace
    progress: Progress

    @property
    def folder(self) -> Path:
        """The cache folder, one for each model and combination of versions."""
        key = hashing.sha256_json({"model": self.model.digest, "versions": dict(versions())})
        return self.workspace.folder("ir", "sources", key)

    @cached_property
    def graph(self) -> Path:
        """The float32 graph, u8 [1,H,W,3] in: the .xml."""
        path = self.folder / "graph" / "model.xml"
        if not path.exists():
            self.progress.log(f"  tracing {self.model.name}")
            graph = (
                self._imported.trace() if self.model.imported else networks.add_uint8_input(networks.trace(self.keras))
            )
            self.store_graph(graph)
        return path

    def store_graph(self, graph: ov.Model) -> None:
        """Store the float32 graph, whose operations get names that depend on the graph alone."""
        graph = graphs.add_first_class(graph)
        graphs.name_operations(graph)
        with files.part_folder(self.folder) as partial:
            graphs.write(graph, partial / "graph" / "model.xml", container=11, compress=False)
            (partial / "graph").replace(self.folder / "graph")

    def reference(self, split: Split, test: TestImages) -> Probabilities:
        """Keras' probabilities for the test images, or those of an imported file's own runtime, f32 [n, classes]."""
        path = self.folder / f"keras-{split.digest}.npy"
        if not path.exists():
            self.progress.log(f"  computing {len(test.images)} reference answers with {reference_runtime(self.model)}")
            chunks = test.chunks()
            answers = (
                self._imported.predict(chunks) if self.model.imported else keras_reference.predict(self.keras, chunks)
            )
            self.store_answers(split, answers)
        return np.asarray(np.load(path), dtype=np.float32)

    def store_answers(self, split: Split, answers: Probabilities) -> None:
        """Store the reference answers to the test images of a split, in their order."""
        with atomic_write(self.folder / f"keras-{split.digest}.npy") as stream:
            np.save(stream, rejection.of_each_class(answers))

    @property
    def _imported(self) -> ImportedGraph:
        return ImportedGraph.of(self.model, self.workspace)

    @property
    def keras(self) -> keras.Model:
        """The Keras model in float32; only of a model that was trained here."""
        return _loaded(self.workspace.absolute(self.model.path), self.model.digest)


def reference_runtime(model: TrainedModel) -> str:
    """Who gives the reference answers, for people."""
    return FORMATS[model.imported.format].runtime_name if model.imported else "Keras"


def images_for(folder: Path, workspace: Workspace, store: Store) -> Images | None:
    """The test images that a bundle's model was judged on, u8 [n,H,W,3]; None if this workspace does not have them."""
    try:
        lineage = verify_bundle(folder)["lineage"]
    except BundleError:
        return None
    model, split = store.get(TrainedModel, lineage["model"]), store.get(Split, lineage["split"])
    if model is None or split is None:
        return None
    return test_images(model, split, workspace).pixels


def test_images(model: TrainedModel, split: Split, workspace: Workspace) -> TestImages:
    """The split's test part for `model`.

    Raises:
        DataError: it is empty.
    """
    from toolkit.data import label_array, load_images, read_manifest

    images = tuple(image for image in read_manifest(split, workspace) if image.subset == "test")
    if not images:
        raise DataError("no test images to compare on", where=split.path, remedy="add a test subset to the split")
    pixels = load_images(images, model.input_size, model.crop, workspace=workspace)
    return TestImages(images, pixels, label_array(images, len(split.labels)))


@lru_cache(maxsize=1)
def _loaded(path: Path, digest: str) -> keras.Model:
    """One model at a time stays in memory; `digest` is part of what it is looked up by."""
    del digest
    return keras_reference.load_float32(path)
