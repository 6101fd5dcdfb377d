from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from toolkit import data
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.experiment.load import load_experiment
from toolkit.networks import NETWORKS, Network, start_tensorflow
from toolkit.networks.scaling import SYMMETRIC
from toolkit.progress import Progress, Silent, Task
from toolkit.store import Store
from toolkit.train import SweepResult, train_trial, train_trials
from toolkit.train.executors.events import TrainRequest
from toolkit.workspace import Workspace

EXPERIMENT = """
name = "tiny"
augment = "none"
[data]
source = "folders"
path = "images"
split = { train = 0.5, validation = 0.25, test = 0.25 }
[matrix]
networks = ["tiny"]
heads = ["softmax", "sigmoid"]
[train]
hidden = [4]
batch_size = 4
label_smoothing = 0
offer = "all"
[[stages]]
name = "top"
epochs = 3
learning_rate = 0.01
optimizer = "adam"
schedule = "constant"
weight_decay = 0
clip_norm = 0
average = 0
patience = 5
[[stages]]
name = "fine-tune"
epochs = 3
learning_rate = 0.003
optimizer = "adam"
schedule = "constant"
weight_decay = 0
clip_norm = 0
average = 0
patience = 5
head_rate = 1
"""


def build_tiny(size: tuple[int, int], *, pretrained: bool, progress: Progress) -> Any:
    """One convolution and a batch-norm; its "imagenet" weights are as random as any."""
    import keras

    images = keras.Input((*size, 3))
    x = keras.layers.Conv2D(6, 3, 2, use_bias=False, name="convolution")(images)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(images, keras.layers.ReLU(name="relu")(x))


class Stopping(Silent):
    """Ctrl-C after so many images, or when a line with this text is logged."""

    def __init__(self, *, images: int | None = None, line: str | None = None) -> None:
        super().__init__()
        self._left, self._line = images, line

    def log(self, text: str) -> None:
        super().log(text)
        if self._line is not None and self._line in text:
            raise KeyboardInterrupt

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Task]:
        del total
        yield self if title.endswith(("top, images", "fine-tune, images")) else _Deaf()

    def advance(self, steps: int = 1, note: str = "") -> None:
        if self._left is not None:
            self._left -= steps
            if self._left <= 0:
                raise KeyboardInterrupt


class _Deaf:
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Only epochs count."""


class Bench:
    """A folder with images and an experiment on them, and a workspace to train it in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "tiny.toml"
        self.file.write_text(EXPERIMENT)

    def train(
        self, workspace: Workspace, progress: Progress | None = None, *, head: str = "softmax", **options: Any
    ) -> tuple[TrainedModel, ...]:
        own = load_experiment(self.file)
        trial = next(trial for trial in own.trials() if trial.head == head)
        with Store(workspace.database) as store:
            return train_trial(own, trial, self.split(workspace), workspace, store, progress or Silent(), **options)

    def split(self, workspace: Workspace) -> Split:
        own = load_experiment(self.file)
        return data.prepare_dataset(own.data, own.origin, workspace, Silent())

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(_first_of_each_key(text.replace(old, new)))


def _first_of_each_key(text: str) -> str:
    """Without the lines that set again, in the same table, what a line before them sets."""
    lines, seen = list[str](), set[str]()
    for line in text.splitlines():
        if line.startswith("["):
            seen = set()
        key = line.partition(" = ")[0] if " = " in line else ""
        if not key or key not in seen:
            lines.append(line)
        seen.add(key)
    return "\n".join(lines) + "\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    row = Network(
        name="tiny",
        title="Tiny",
        build=build_tiny,
        input_size=32,
        smallest=8,
        scaling=SYMMETRIC,
        weights_from="nowhere",
    )
    monkeypatch.setitem(NETWORKS, "tiny", row)
    draw = np.random.default_rng(0)
    for label, channel in (("blue", 0), ("red", 2)):
        for number in range(12):
            image = draw.integers(0, 120, (32, 32, 3)).astype(np.uint8)
            image[..., channel] += 100
            (tmp_path / "images" / label).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "images" / label / f"{number}.png"), image)
    return Bench(tmp_path)


@pytest.fixture
def stopping() -> type[Stopping]:
    return Stopping


class Sweep:
    """Two networks of the user's own, in a file that other processes can read, with one head each; ready to be trained."""

    def __init__(self, bench: Bench, workspace: Workspace) -> None:
        self.file, self._bench, self.workspace = bench.file, bench, workspace
        bench.change('["tiny"]', '["one", "two"]')
        bench.change('["softmax", "sigmoid"]', '["softmax"]')
        for name in ("one", "two"):
            text = f"[networks.{name}]\nbody = 'body.keras'\ninput_size = 32\n"
            self.file.write_text(self.file.read_text() + text)

    def change(self, old: str, new: str) -> None:
        self._bench.change(old, new)

    def train(
        self, progress: Progress | None = None, workspace: Workspace | None = None, **options: Any
    ) -> SweepResult:
        own, place = load_experiment(self.file), workspace or self.workspace
        with Store(place.database) as store:
            return train_trials(
                own, tuple(own.trials()), self._bench.split(place), place, store, progress or Silent(), **options
            )

    def requests(self) -> list[TrainRequest]:
        """What its workers are asked for."""
        own = load_experiment(self.file)
        split = self._bench.split(self.workspace)
        return [TrainRequest(experiment=own, trial=one, split=split, workspace=self.workspace) for one in own.trials()]

    def trained_here(self, workspace: Workspace) -> list[TrainedModel]:
        """The same trials, one after the other in this process."""
        own = load_experiment(self.file)
        with Store(workspace.database) as store:
            return [
                model
                for trial in own.trials()
                for model in train_trial(own, trial, self._bench.split(workspace), workspace, store, Silent())
            ]


@pytest.fixture(scope="session")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A body with weights that do not change."""
    start_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("body") / "body.keras"
    build_tiny((32, 32), pretrained=False, progress=Silent()).save(path)
    return path


@pytest.fixture
def sweep(bench: Bench, body: Path, workspace: Workspace) -> Sweep:
    shutil.copy(body, bench.root)
    return Sweep(bench, workspace)
