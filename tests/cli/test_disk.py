"""Verbs on a workspace whose disk is full or read-only: one sentence with exit code 4; what only reads still reads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.model import TrainedModel
from toolkit.store import Store

from ..test_pipeline import EXPERIMENT, draw, save_body

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]
MODEL, BUNDLE, MODEL_FILE = "MODEL", "BUNDLE", "MODEL_FILE"
WRITING = {
    "train": ("train", "more.toml"),
    "convert": ("convert", MODEL, "--precision", "fp16"),
    "report": ("report",),
    "bench": ("bench", BUNDLE, "--local"),
    "evaluate": ("evaluate", MODEL_FILE, "--data", "images"),
}
READING = {
    "inspect": ("inspect", BUNDLE),
    "check": ("check", BUNDLE),
    "predict": ("predict", BUNDLE, "images/bar/0.png"),
    "compare": ("bench", "--compare"),
}


@dataclass(frozen=True)
class Place:
    """A folder with images and experiments, and its workspace on a disk of its own."""

    folder: Path
    names: dict[str, str]

    def run(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "toolkit", *(self.names.get(word, word) for word in arguments)]
        return subprocess.run(
            [*argv, "--workspace", "work"], cwd=self.folder, capture_output=True, text=True, check=False, timeout=300
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("disk")
    for label in ("bar", "disc"):
        draw(folder / "images", label, 16)
    save_body(folder / "body.keras")
    (folder / "shapes.toml").write_text(EXPERIMENT)
    (folder / "more.toml").write_text(EXPERIMENT.replace("epochs = 1", "epochs = 2"))
    work = folder / "work"
    work.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "toolkit-test", work], check=True)
    try:
        bare = Place(folder, {})
        for arguments in (("train", "shapes.toml"), ("convert", "small-sigmoid-fine-tune", "--precision", "fp32")):
            done = bare.run(arguments)
            assert done.returncode == 0, done.stderr
        with Store(work / "toolkit.db") as store:
            model = store.all(TrainedModel)[-1]
            names = {MODEL: model.digest, MODEL_FILE: f"work/{model.path}", BUNDLE: store.all(Bundle)[-1].digest}
        yield Place(folder, names)
    finally:
        subprocess.run(["umount", "--lazy", work], check=True)


@pytest.fixture
def full(place: Place) -> Iterator[Place]:
    filler = place.folder / "work/filler"
    with suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    yield place
    filler.unlink()


@pytest.fixture
def read_only(place: Place) -> Iterator[Place]:
    subprocess.run(["mount", "-o", "remount,ro", place.folder / "work"], check=True)
    yield place
    subprocess.run(["mount", "-o", "remount,rw", place.folder / "work"], check=True)


def hold_one_sentence(done: subprocess.CompletedProcess[str], *causes: str) -> None:
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
    assert any(cause in done.stderr for cause in causes), done.stderr


@pytest.mark.parametrize("verb", WRITING)
def test_full_disk_is_one_sentence(full: Place, verb: str) -> None:
    hold_one_sentence(full.run(WRITING[verb]), "no space left", "disk is full", "disk failed")


@pytest.mark.parametrize("verb", WRITING)
def test_read_only_workspace_is_one_sentence(read_only: Place, verb: str) -> None:
    hold_one_sentence(read_only.run(WRITING[verb]), "read-only")


@pytest.mark.parametrize("verb", READING)
def test_reading_verbs_read_on_a_full_disk(full: Place, verb: str) -> None:
    done = full.run(READING[verb])
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or (verb == "compare" and done.returncode == 1), done.stderr


@pytest.mark.parametrize("verb", READING)
def test_reading_verbs_read_a_read_only_workspace(read_only: Place, verb: str) -> None:
    done = read_only.run(READING[verb])
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or (verb == "compare" and done.returncode == 1), done.stderr
