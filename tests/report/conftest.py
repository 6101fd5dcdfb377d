"""A store filled by hand, for looking at the page and testing it. No figure that is shown to anyone comes from here."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from toolkit import hashing
from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle, IrModel, Parity
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.model import (
    Calibration,
    CalibrationBin,
    ClassScore,
    Epoch,
    Evaluation,
    ImportedModel,
    TrainedModel,
)
from toolkit.bench.targets import build_image_set
from toolkit.data import Image, read_manifest
from toolkit.data.split_manifest import split_digest, write_manifest
from toolkit.experiment.schema import Experiment
from toolkit.report import Report, write_report
from toolkit.stats import intervals
from toolkit.store import Store
from toolkit.workspace import Workspace

LABELS = ("without_mask", "with_mask")
IMAGES = 160
NETWORKS = {"efficientnet_lite0": (0.94, 0.975, 4.4, 18_600_000), "mobilenet": (0.79, 0.93, 5.9, 17_100_000)}
DEVICES: tuple[str, ...] = ("pi-1", "pi-2", "pi-3")
VERSIONS = {"python": "3.11.7", "tensorflow": "2.21.0", "keras": "3.12.0", "openvino": "2026.4.1", "toolkit": "0.1.0"}


def digest(*parts: object) -> str:
    return hashing.sha256_json([str(part) for part in parts])


def make_split(workspace: Workspace) -> Split:
    folder = workspace.folder("data", "x")
    shades = np.random.default_rng(5).integers(0, 255, (IMAGES, 24, 24, 3), np.uint8)
    for n, shade in enumerate(shades):
        cv2.imwrite(str(folder / f"{n:04d}.png"), shade)
    files = sorted(folder.iterdir())
    images = [Image(file, hashing.sha256_file(file), n % 2, "test", str(n // 8)) for n, file in enumerate(files)]
    path, _ = write_manifest(images, LABELS, workspace)
    counts = {"train": 280, "validation": 40, "test": IMAGES // 2}
    return Split(
        digest=split_digest(images, LABELS),
        name="synthetic-masks",
        note="synthetic masks",
        labels=LABELS,
        counts={part: dict.fromkeys(LABELS, count) for part, count in counts.items()},
        path=workspace.relative(path),
    )


def evaluate(accuracy: float, rng: random.Random) -> Evaluation:
    wrong = set(rng.sample(range(IMAGES), round((1 - accuracy) * IMAGES)))
    truth = [n % 2 for n in range(IMAGES)]
    predictions = tuple(1 - label if n in wrong else label for n, label in enumerate(truth))
    confusion = tuple(
        tuple(sum(t == row and p == column for t, p in zip(truth, predictions, strict=True)) for column in range(2))
        for row in range(2)
    )
    right = sum(confusion[n][n] for n in range(2))
    return Evaluation(
        subset="test",
        images=IMAGES,
        loss=0.35 * (1 - accuracy) / 0.1,
        accuracy=right / IMAGES,
        interval=intervals.wilson(right, IMAGES),
        top5=None,
        classes=tuple(score(confusion, n) for n in range(2)),
        confusion=confusion,
        predictions=predictions,
        probabilities=tuple(
            (round(0.5 + (rng.random() / 2 if predicted else -rng.random() / 2), 6),) for predicted in predictions
        ),
        calibration=calibrate(right / IMAGES),
    )


def calibrate(accuracy: float) -> Calibration:
    empty = CalibrationBin(images=0, confidence=0.0, accuracy=0.0)
    half = IMAGES // 2
    filled = (CalibrationBin(images=half, confidence=c, accuracy=accuracy) for c in (0.9, 0.98))
    return Calibration(ece=abs(0.94 - accuracy), bins=(*[empty] * 13, *filled))


def score(confusion: tuple[tuple[int, ...], ...], n: int) -> ClassScore:
    precision = confusion[n][n] / sum(row[n] for row in confusion)
    recall = confusion[n][n] / sum(confusion[n])
    f1 = 2 * precision * recall / (precision + recall)
    return ClassScore(label=LABELS[n], precision=precision, recall=recall, f1=f1, support=sum(confusion[n]))


def learn(stage: str, best: float, epochs: int, rng: random.Random) -> tuple[Epoch, ...]:
    history = []
    for number in range(1, epochs + 1):
        reached = best - (best - 0.6) * math.exp(-number / (1.5 if stage == "top" else 0.6))
        shaky = reached + rng.uniform(-0.02, 0.01)
        history.append(
            Epoch(
                stage=stage,
                number=number,
                loss=1.4 * (1 - reached) + 0.05,
                accuracy=min(1.0, reached + 0.015),
                val_loss=1.6 * (1 - shaky) + 0.08,
                val_accuracy=shaky,
                seconds=2.1,
                learning_rate=1e-3 if stage == "top" else 1e-5,
            )
        )
    return tuple(history)


def make_model(split: Split, network: str, head: str, stage: str, rng: random.Random) -> TrainedModel:
    top, tuned, _, size = NETWORKS[network]
    best = (tuned if stage == "fine-tune" else top) - (0.015 if head == "sigmoid" else 0)
    return TrainedModel(
        digest=digest(network, head, stage),
        parent=split.digest,
        run=digest("run"),
        experiment="masks",
        network=network,
        head=head,
        stage=stage,
        weights="efficientnet_lite0.pth" if network == "efficientnet_lite0" else "none",
        note=split.note,
        labels=LABELS,
        input_size=(224, 224) if network == "efficientnet_lite0" else (96, 96),
        crop="resize",
        scaling="(x - 127) / 128",
        path=f"runs/masks/{network}-{head}/{stage}/model.keras",
        parameters=size // 4,
        history=learn(stage, best, 8 if stage == "top" else 4, rng),
        evaluation=evaluate(best, rng),
        seconds=41.0,
        warnings=("within one standard error of the majority class",) if (network, head, stage) == WARNED else (),
        versions=VERSIONS,
    )


WARNED = ("mobilenet", "sigmoid", "top")


def make_ir(model: TrainedModel, precision: str) -> IrModel:
    fp32 = precision == "fp32"
    return IrModel(
        digest=digest(model.digest, precision),
        parent=model.digest,
        precision=precision,
        target="cpu",
        path=f"ir/{digest(model.digest, precision)}/model.xml",
        size_bytes=NETWORKS[model.network][3] // (1 if fp32 else 2),
        parity=Parity(
            images=IMAGES,
            max_abs=3.1e-6 if fp32 else 2.4e-3,
            mean_abs=2.2e-7 if fp32 else 1.9e-4,
            top1_agreement=1.0,
            accuracy=model.evaluation.accuracy,
            reference_accuracy=model.evaluation.accuracy,
            tolerance=1e-4 if fp32 else 1e-2,
            passed=True,
        ),
        seconds=2.4,
    )


def make_bundle(ir: IrModel, model: TrainedModel) -> Bundle:
    return Bundle(
        digest=digest(ir.digest, "bundle"),
        parent=ir.digest,
        name=f"{model.network}-{model.head}-{model.stage}-{ir.precision}",
        precision=ir.precision,
        target=ir.target,
        path=f"bundles/{digest(ir.digest, 'bundle')}",
        size_bytes=ir.size_bytes + 200_000,
    )


def make_record(bundle: Bundle, device: str, scenario: str, base_ms: float, images: str, **changes: Any) -> BenchRecord:
    rng = random.Random(f"{bundle.name} {device} {scenario}")
    samples = [base_ms * rng.lognormvariate(0, 0.08) for _ in range(96)]
    if scenario == "offline":
        samples = [base_ms * 0.62 * (n + 1) for n in range(256)]
    facts = {
        "model": "container on x86-64",
        "machine": "x86_64",
        "kernel": "6.1.0",
        "os": "Debian 12",
        "python": "3.11.7",
        "openvino": "2026.4.1",
        "cores": 2,
        "governor": None,
        "used": {"accelerator": "CPU", "precision": "f32"},
        "temperature_c": None,
        "image_set": images,
        "logged": [{"query": n, "image": n, "output": answer(bundle, n)} for n in (3, 4, 9)],
    }
    values: dict[str, Any] = {
        "digest": digest(bundle.digest, device, scenario),
        "parent": bundle.digest,
        "device": device,
        "scenario": scenario,
        "accelerator": "CPU",
        "samples_ms": () if scenario == "accuracy" else tuple(samples),
        "wall_s": (samples[-1] if scenario == "offline" else sum(samples)) / 1e3,
        "quick": scenario != "accuracy",
        "broken_rules": (),
        "accuracy": 0.97 if scenario == "accuracy" else None,
        "correct": 155 if scenario == "accuracy" else None,
        "images": IMAGES,
        "facts": facts,
        "settings": {"threads": 1, "streams": 1, "seed": 0, "clock": "total"},
        "at": f"2026-11-20T10:{len(device)}{DEVICES.index(device)}:00+00:00",
    }
    return BenchRecord(**(values | changes))


def answer(bundle: Bundle, image: int) -> list[float]:
    """Right about image 3 (label 1) and wrong about image 4 (label 0)."""
    share = 0.875 if image == 3 else 0.75
    return [share] if "sigmoid" in bundle.name else [1 - share, share]


def metric(store: Store, bundle: Bundle, base_ms: float, images: str) -> None:
    for number, device in enumerate(DEVICES):
        for scenario in ("single-stream", "offline", "accuracy"):
            broken = ("throttled",) if (number, scenario, bundle.name) == BROKEN else ()
            store.put(make_record(bundle, device, scenario, base_ms * (1 + 0.07 * number), images, broken_rules=broken))
        store.put(
            Deployment(
                digest=digest(bundle.digest, device, "deployed"),
                parent=bundle.digest,
                device=device,
                release=digest(bundle.digest, "release"),
                outcome="deployed",
                sent_bytes=bundle.size_bytes,
                seconds=1.2,
                at="2026-11-20T10:01:00+00:00",
            )
        )


BROKEN = (2, "single-stream", "mobilenet-sigmoid-top-fp32")


def fill(workspace: Workspace, store: Store) -> None:
    rng = random.Random(7)
    split = make_split(workspace)
    store.put(split)
    images = build_image_set(read_manifest(split, workspace), LABELS).digest
    for network, (_, _, base_ms, _) in NETWORKS.items():
        for head in ("sigmoid", "softmax"):
            for stage in ("top", "fine-tune"):
                model = make_model(split, network, head, stage, rng)
                store.put(model)
                for precision in ("fp32", "fp16"):
                    ir = make_ir(model, precision)
                    bundle = make_bundle(ir, model)
                    store.put(ir)
                    store.put(bundle)
                    metric(store, bundle, base_ms * (0.97 if precision == "fp16" else 1), images)


def slower(store: Store) -> BenchRecord:
    """The first valid latency record, measured once more and half as fast, with a newer OpenVINO."""
    first = next(r for r in store.all(BenchRecord) if r.scenario == "single-stream" and not r.broken_rules)
    later = dataclasses.replace(
        first,
        digest="e" * 64,
        at="2026-11-21T10:00:00+00:00",
        samples_ms=tuple(2 * sample for sample in first.samples_ms),
        facts=dict(first.facts) | {"openvino": "2026.5.0-1"},
    )
    store.put(later)
    return later


IMPORTED = ImportedModel(
    file="street.onnx",
    sha256="5" * 64,
    format="onnx",
    dtype="f32",
    layout="NCHW",
    color="RGB",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    output="logits",
)


def adopted(store: Store) -> None:
    """The first of the models with one form and its records, as a file from elsewhere; as much is known of one."""
    model = store.all(TrainedModel)[0]
    ir = store.all(IrModel, parent=model.digest)[0]
    bundle = store.all(Bundle, parent=ir.digest)[0]
    records = store.all(BenchRecord, parent=bundle.digest)
    judged = dataclasses.replace(model.evaluation, classes=(), confusion=(), probabilities=(), calibration=None)
    store.put(
        dataclasses.replace(
            model,
            digest="8" * 64,
            experiment="",
            network="street",
            stage="imported",
            weights=IMPORTED.file,
            history=(),
            evaluation=judged,
            imported=IMPORTED,
        )
    )
    store.put(dataclasses.replace(ir, digest="7" * 64, parent="8" * 64))
    store.put(dataclasses.replace(bundle, digest="6" * 64, parent="7" * 64))
    for record in records:
        store.put(dataclasses.replace(record, digest=record.digest[::-1], parent="6" * 64))


@pytest.fixture
def slow_down() -> Callable[[Store], BenchRecord]:
    return slower


@pytest.fixture
def adopt() -> Callable[[Store], None]:
    return adopted


EXPERIMENT = {
    "name": "masks",
    "title": "Masks on faces, the embedded default",
    "published": "face-mask",
    "data": {"source": "synthetic-masks"},
    "matrix": {"networks": ["efficientnet_lite0", "mobilenet"], "heads": ["sigmoid", "softmax"]},
    "stages": [{"name": "top"}, {"name": "fine-tune"}],
}


@pytest.fixture
def experiment() -> Experiment:
    return Experiment.model_validate(EXPERIMENT)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def empty(workspace: Workspace) -> Iterator[Store]:
    with Store(workspace.database) as store:
        yield store


@pytest.fixture
def store(workspace: Workspace, empty: Store) -> Store:
    fill(workspace, empty)
    return empty


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One report of the filled store, for all tests that only read it."""
    other = Workspace(tmp_path_factory.mktemp("written"))
    with Store(other.database) as filled:
        fill(other, filled)
        return write_report(other, filled, experiment=Experiment.model_validate(EXPERIMENT))


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The same with a past, an outlier and a model from elsewhere."""
    other = Workspace(tmp_path_factory.mktemp("furnished"))
    with Store(other.database) as filled:
        fill(other, filled)
        slower(filled)
        adopted(filled)
        return write_report(other, filled, experiment=Experiment.model_validate(EXPERIMENT))
