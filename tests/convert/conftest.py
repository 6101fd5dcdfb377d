"""A tiny workspace of its own: 24 drawn images, a split, and Keras models that answer in microseconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from toolkit import hashing
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import Evaluation, TrainedModel
from toolkit.data.split_manifest import Image, count_labels, sort_images, split_digest, write_manifest
from toolkit.networks.tf_runtime import start_tensorflow
from toolkit.store import Store
from toolkit.workspace import Workspace

LABELS = ("dark", "light")
SIZE = (32, 32)


@dataclass
class TrainedWorkspace:
    """What convert_model and make_bundle are called with."""

    workspace: Workspace
    store: Store
    split: Split
    sigmoid: TrainedModel
    softmax: TrainedModel


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> TrainedWorkspace:
    """The workspace before anything was converted; copy it, do not change it."""
    workspace = Workspace(tmp_path_factory.mktemp("convert") / "workspace")
    store = Store(workspace.database)
    split = make_split(workspace)
    models = [make_model(workspace, split, head) for head in ("sigmoid", "softmax")]
    for artifact in (split, *models):
        store.put(artifact)
    store.close()
    return TrainedWorkspace(workspace, store, split, *models)


@pytest.fixture
def trained(pristine: TrainedWorkspace, tmp_path: Path) -> Iterator[TrainedWorkspace]:
    """A workspace of the test's own."""
    yield from _copy(pristine, tmp_path)


@pytest.fixture(scope="module")
def shared_trained(pristine: TrainedWorkspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedWorkspace]:
    """A workspace for tests that only add to it."""
    yield from _copy(pristine, tmp_path_factory.mktemp("shared"))


@pytest.fixture(name="make_model")
def _make_model() -> Callable[..., TrainedModel]:
    """make_model(workspace, split, head, policy)."""
    return make_model


def _copy(pristine: TrainedWorkspace, folder: Path) -> Iterator[TrainedWorkspace]:
    root = folder / "workspace"
    shutil.copytree(pristine.workspace.root, root)
    workspace = Workspace(root)
    with Store(workspace.database) as store:
        yield TrainedWorkspace(workspace, store, pristine.split, pristine.sigmoid, pristine.softmax)


def make_split(workspace: Workspace, each: int = 6) -> Split:
    """Dark and light noise: `each` test images per class, and as many to train on."""
    random = np.random.default_rng(3)
    images = []
    for part in ("train", "test"):
        for label, name in enumerate(LABELS):
            for number in range(each):
                path = workspace.folder("data", "drawn", name) / f"{part}_{number}.png"
                pixels = random.integers(0, 140, (40, 36, 3)) + (110 if label else 0)
                cv2.imwrite(str(path), pixels.astype(np.uint8))
                images.append(Image(path, hashing.sha256_file(path), label, part))
    ordered = sort_images(images)
    path, _ = write_manifest(ordered, LABELS, workspace)
    return Split(
        digest=split_digest(ordered, LABELS),
        name="drawn",
        note="drawn images",
        labels=LABELS,
        counts=count_labels(ordered, LABELS),
        path=workspace.relative(path),
    )


def make_model(workspace: Workspace, split: Split, head: str, policy: str = "float32") -> TrainedModel:
    """A network with most of what mobile networks have, untrained but decided."""
    start_tensorflow()
    import keras

    keras.utils.set_random_seed(7)
    layers = keras.layers
    with_policy = {"dtype": policy}
    x = inputs = keras.Input((*SIZE, 3))
    x = layers.Rescaling(1 / 127.5, -1.0, **with_policy)(x)
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="stem", **with_policy)(x)
    x = layers.BatchNormalization(name="stem_bn", **with_policy)(x)
    x = y = layers.ReLU(6.0, **with_policy)(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise", **with_policy)(x)
    x = layers.Add(**with_policy)([x, y])
    x = layers.MaxPooling2D(**with_policy)(x)
    x = layers.GlobalAveragePooling2D(**with_policy)(x)
    x = layers.Dropout(0.2, **with_policy)(x)
    units, activation = (1, "sigmoid") if head == "sigmoid" else (len(LABELS), "softmax")
    wide = keras.initializers.RandomNormal(stddev=3.0, seed=1)
    outputs = layers.Dense(units, activation=activation, kernel_initializer=wide, name="answer", dtype="float32")(x)
    path = workspace.folder("runs", f"tiny-{head}-{policy}") / "model.keras"
    model = keras.Model(inputs, outputs)
    model.save(path)
    return describe(path, workspace, split, head, model.count_params())


def describe(path: Path, workspace: Workspace, split: Split, head: str, parameters: int) -> TrainedModel:
    """The artifact for a saved Keras model; nothing of it was measured."""
    nothing = Evaluation(
        subset="test",
        images=0,
        loss=0.0,
        accuracy=0.0,
        interval=(0.0, 0.0),
        top5=None,
        classes=(),
        confusion=(),
        predictions=(),
    )
    return TrainedModel(
        digest=hashing.sha256_file(path),
        parent=split.digest,
        run="0" * 64,
        experiment="drawn",
        network="tiny",
        head=head,
        stage="top",
        weights="none",
        note=split.note,
        labels=split.labels,
        input_size=SIZE,
        crop="resize",
        scaling="x / 127.5 - 1",
        path=workspace.relative(path),
        parameters=parameters,
        history=(),
        evaluation=nothing,
        seconds=0.0,
    )
