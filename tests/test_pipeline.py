"""The whole line as a user runs it: real images, real training, real SSH, a real report; and then once more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.model import TrainedModel, ValidationResult
from toolkit.fleet.local_fleet import control
from toolkit.networks.tf_runtime import start_tensorflow
from toolkit.pipeline import validation_score
from toolkit.store import Store
from toolkit.workspace import Workspace

pytestmark = pytest.mark.slow

EXPERIMENT = """
name = "shapes"
title = "Discs and bars"
[data]
source = "folders"
path = "images"
split = { train = 0.5, validation = 0.25, test = 0.25 }
[matrix]
networks = ["small"]
heads = ["sigmoid"]
[train]
hidden = [8]
batch_size = 8
offer = "all"
[[stages]]
name = "fine-tune"
epochs = 1
[networks.small]
body = "body.keras"
scaling = "symmetric"
input_size = 32
[convert]
precisions = ["fp32", "fp16"]
[bench]
seconds = 0.1
queries = 8
"""


def draw(folder: Path, label: str, count: int) -> None:
    """Images with one light shape each; no two alike."""
    rng = np.random.default_rng(len(label))
    (folder / label).mkdir(parents=True)
    for number in range(count):
        draw_shapes(folder / label / f"{number}.png", (label,), rng)


def draw_shapes(path: Path, labels: tuple[str, ...], rng: np.random.Generator) -> None:
    image = rng.integers(0, 90, (48, 48, 3), np.uint8)
    for label in labels:
        x, y = (int(value) for value in rng.integers(14, 34, 2))
        if label == "disc":
            cv2.circle(image, (x, y), 10, (240, 240, 240), -1)
        else:
            cv2.rectangle(image, (x - 3, y - 14), (x + 3, y + 14), (240, 240, 240), -1)
    assert cv2.imwrite(str(path), image)


def save_body(path: Path) -> None:
    """A small body of the user's own: what these tests show does not depend on the network's size."""
    start_tensorflow()
    import keras

    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(images)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    keras.Model(images, x).save(path)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    for label in ("bar", "disc"):
        draw(tmp_path / "images", label, 16)
    save_body(tmp_path / "body.keras")
    path = tmp_path / "shapes.toml"
    path.write_text(EXPERIMENT)
    return path


def run(experiment: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "toolkit", "run", str(experiment), "--workspace", str(experiment.parent / "work")]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_run_measures_a_fleet_and_a_second_run_finds_it_all_done(experiment: Path) -> None:
    first = run(experiment)
    assert first.returncode == 0, first.stderr
    page = experiment.parent / "work" / "reports" / "shapes" / "index.html"
    assert str(page) in first.stdout
    assert "<svg" in page.read_text(encoding="utf-8")
    before = page.read_bytes()
    with Store(experiment.parent / "work" / "toolkit.db") as store:
        records = store.all(BenchRecord)
    assert len(records) == 18
    valid = [record for record in records if not record.broken_rules]  # a busy machine disturbs measurements

    second = run(experiment)
    assert second.returncode == 0, second.stderr
    for message in (
        "nothing changed",
        "trained already, skipped",
        "already done",
        "unchanged, 0 bytes sent",
        f"skipped: {len(valid)} of 18",
    ):
        assert message in second.stderr
    assert (page.read_bytes() == before) == (len(valid) == 18)

    third = run(experiment, "--json", "--limit", "local-2")
    assert third.returncode == 0, third.stderr
    result = json.loads(third.stdout)
    assert {record["device"] for record in result["records"]} == {"local-2"}
    assert len(result["bundles"]) == 2
    assert result["failed"] == []
    lineage = [result["records"][0]["parent"], *(bundle["digest"] for bundle in result["bundles"])]
    assert lineage[0] in lineage[1:]

    images, work = str(experiment.parent / "images"), experiment.parent / "work"
    (keras,) = work.glob("runs/*/*/fine-tune/model.keras")
    by_keras = ask("evaluate", str(keras), "--data", images, "--workspace", str(work))
    bundle = next(one for one in result["bundles"] if one["precision"] == "fp32")
    by_openvino = ask(
        "evaluate", bundle["digest"], "--data", images, "--workspace", str(work), without=experiment.parent / "hidden"
    )
    assert by_openvino["confusion"] == by_keras["confusion"]
    assert by_openvino["loss"] == pytest.approx(by_keras["loss"], abs=1e-3)


TWO_STAGES = EXPERIMENT.replace("[[stages]]", '[[stages]]\nname = "top"\nepochs = 1\n[[stages]]', 1).replace(
    ', "fp16"', ""
)


KINDS = (("disc",), ("bar",), ("bar", "disc"), ())


@pytest.fixture
def multi_label(tmp_path: Path) -> Path:
    """The same shapes, two or none in an image, as PASCAL VOC lays them out."""
    root, rng = tmp_path / "VOCdevkit" / "VOC2007", np.random.default_rng(5)
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for part, count in (("train", 16), ("val", 8), ("test", 12)):
        names = [f"{part}{number:02}" for number in range(count)]
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names))
        for number, name in enumerate(names):
            labels = KINDS[number % 4]
            draw_shapes(root / "JPEGImages" / f"{name}.jpg", labels, rng)
            objects = "".join(
                f"<object><name>{label}</name><difficult>{int(number == 2)}</difficult></object>" for label in labels
            )
            (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")
    save_body(tmp_path / "body.keras")
    path = tmp_path / "shapes.toml"
    data = EXPERIMENT.partition("[data]")[2].partition("[matrix]")[0]
    text = EXPERIMENT.replace(data, '\nsource = "voc"\npath = "VOCdevkit"\n').replace('"sigmoid"', '"multi-sigmoid"')
    path.write_text(text)
    return path


@pytest.mark.timeout(600)
def test_run_measures_a_fleet_when_images_have_many_labels(multi_label: Path) -> None:
    done = run(multi_label, "--json", "--limit", "local-1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["failed"] == []
    model, accuracies = result["models"][-1], [r for r in result["records"] if r["scenario"] == "accuracy"]
    assert model["head"] == "multi-sigmoid"
    assert model["labels"] == ["bar", "disc"]
    judged = model["evaluation"]
    # the image of a difficult bar is not judged for it
    assert sum(map(sum, judged["multilabel"]["confusions"][0])) == 11
    # a model of so few steps is undecided: a processor that computes in BF16 by itself may say other labels
    assert {rule for record in result["records"] for rule in record["broken_rules"]} <= {"accuracy-below-reference"}
    assert all(record["images"] == 12 and "micro_f1" in record["facts"] for record in accuracies)
    page = (multi_label.parent / "work" / "reports" / "shapes" / "index.html").read_text(encoding="utf-8")
    assert "multi-sigmoid" in page

    work = multi_label.parent / "work"
    ((keras,), bundle) = work.glob("runs/*/*/fine-tune/model.keras"), work / "bundles" / result["bundles"][-2]["digest"]
    image = str(multi_label.parent / "VOCdevkit" / "VOC2007" / "JPEGImages" / "test02.jpg")
    predictions = [ask("predict", str(model), image)["predictions"][0] for model in (keras, bundle)]
    assert all(len(one["ranking"]) == 2 and set(one["labels"]) <= {"bar", "disc"} for one in predictions)
    again = ask("evaluate", str(keras), "--data", str(multi_label.parent / "VOCdevkit"), "--workspace", str(work))
    assert again["multilabel"] == judged["multilabel"]
    # what a bundle is asked without Keras: labels at 1/2 may be others after rounding
    converted = ask("evaluate", str(bundle), "--data", str(multi_label.parent / "VOCdevkit"), "--workspace", str(work))
    assert converted["images"] == judged["images"]
    assert converted["multilabel"]["micro"]["f1"] == pytest.approx(judged["multilabel"]["micro"]["f1"], abs=0.1)
    checked = ask("check", str(bundle), "--workspace", str(work))["checks"]
    assert {one["outcome"] for one in checked if one["name"] in {"digests", "golden"}} == {"passed"}


def ask(*options: str, without: Path | None = None) -> Any:
    """A verb's JSON; `without` is a new folder that hides TensorFlow and Keras."""
    environment = dict(os.environ)
    if without is not None:
        without.mkdir()
        for name in ("tensorflow", "keras"):
            (without / f"{name}.py").write_text(f"raise RuntimeError('{name} is imported')")
        environment["PYTHONPATH"] = str(without)
    argv = [sys.executable, "-m", "toolkit", *options, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(900)
def test_run_resumes_without_loss_when_killed_at_any_stage(experiment: Path) -> None:
    work = experiment.parent / "work"
    experiment.write_text(TWO_STAGES)
    for text in ("top: epoch 1/", "── conversion", "── deployment"):
        assert kill_when(text, experiment) == -signal.SIGKILL
    last = run(experiment)
    assert last.returncode == 0, last.stderr
    assert "top: trained already, skipped" in last.stderr
    assert "fine-tune: trained already, skipped" in last.stderr
    with Store(work / "toolkit.db") as store:
        stages = [model.stage for model in store.all(TrainedModel)]
        assert sorted(stages) == ["fine-tune", "top"]
        assert len(store.all(Bundle)) == 2
    control.down(Workspace(work))  # a fleet that a killed run had started is the user's to end


def test_models_are_ranked_by_the_weights_that_were_saved() -> None:
    """Not by the epoch that was best on the validation images: fine-tuning saves the last one."""

    def ended(loss: float, *correct: bool, best: float) -> TrainedModel:
        history = (SimpleNamespace(stage="fine-tune", val_loss=best, val_accuracy=1.0),)
        validation = ValidationResult(temperature=1, loss=0, uncalibrated_loss=loss, correct=correct)
        return cast("TrainedModel", SimpleNamespace(stage="fine-tune", history=history, validation=validation))

    worse, better = ended(0.5, True, False, best=0.1), ended(0.4, True, True, best=0.3)
    surer = ended(0.3, True, True, best=0.3)
    imported = cast("TrainedModel", SimpleNamespace(validation=None))
    assert sorted([surer, worse, imported, better], key=validation_score) == [imported, worse, better, surer]


def kill_when(text: str, experiment: Path) -> int:
    """Run the line and kill it when it says so; its exit code."""
    log = experiment.with_suffix(".log")
    command = [sys.executable, "-m", "toolkit", "run", str(experiment), "--workspace", str(experiment.parent / "work")]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    while text not in log.read_text() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    return process.wait()
