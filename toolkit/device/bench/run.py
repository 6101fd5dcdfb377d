"""Benchmark a bundle in one scenario on this device: raw samples, and the facts that determine their validity."""

from __future__ import annotations

import resource
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple

from .. import probe
from ..errors import DeviceError
from ..layout import MANIFEST, RELEASE, model_file
from ..release.manifest import input_size, read_json, read_manifest, root_of
from ..release.store import sha256_file
from ..release.verify import require_trusted
from ..runtime import interface
from . import scenarios
from .dataset import ImageSet, SampleOrder, read_image_set
from .lock import bench_lock
from .spec import RunOptions

if TYPE_CHECKING:
    from ..runtime.interface import Image, Model

WARM_UP_QUERIES = 8
WARM_UP_S = 1.0


def run_benchmark(release: Path, folder: Path, options: RunOptions, root: Optional[Path] = None) -> Dict[str, Any]:
    """Run a benchmark and return its record; `folder` contains images.json and its images.

    Raises:
        DeviceError: images or bundle cannot be used, another benchmark is running on this device, or it asks for a
            signature
            and the release has none that it trusts.
        DeviceEnvironmentError: OpenVINO or the accelerator is missing.
    """
    place = root or root_of(release)
    with bench_lock(place):
        require_trusted(release)
        manifest = read_manifest(release)
        images = read_image_set(folder, manifest["labels"])
        return {
            "ok": True,
            "format": 1,
            "at": datetime.now(timezone.utc).isoformat(),
            **_identity(release, manifest),
            "settings": options.settings(),
            "facts": probe.probe(str(place)),
            **_measure(release, manifest, images, options),
        }


def _identity(release: Path, manifest: Dict[str, Any]) -> Dict[str, Any]:
    """Return the fields of a record that identify the measured bundle."""
    stated = release / RELEASE
    return {
        "bundle": sha256_file(release / MANIFEST),
        "name": manifest["name"],
        "device_code": read_json(stated).get("device") if stated.exists() else None,
        "tolerance": manifest["golden"]["tolerance"],
    }


def _measure(release: Path, manifest: Dict[str, Any], images: ImageSet, options: RunOptions) -> Dict[str, Any]:
    order = SampleOrder(options.spec.seed, len(images.images))
    before = probe.readings()
    model, compile_ns = _load(release, options)
    source = _image_loader(manifest, images, options, order)
    first_ns = _first_inference(model, source(order.pool[0]))
    limits = scenarios.Limits(min(WARM_UP_S, options.spec.seconds / 4), WARM_UP_QUERIES)
    warm = scenarios.single_stream(model, source, order, limits)
    before["accelerator_temperature_c"] = model.temperature_c()
    run = _run(model, source, images, order, options)
    after = {**probe.readings(), "accelerator_temperature_c": model.temperature_c()}
    return {
        **_result(run, images),
        "order": order.facts(len(run.samples_ns)),
        "images": {"count": len(images.images), "digest": images.digest},
        "compile_ms": compile_ns / 1e6,
        "first_inference_ms": first_ns / 1e6,
        "warm_up_ms": [sample / 1e6 for sample in warm.samples_ns],
        "used": {**model.used(), "runtime": f"{model.runtime} {model.version}", "in_flight": run.requests},
        "environment": {"before": before, "after": after},
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _load(release: Path, options: RunOptions) -> Tuple[Model, int]:
    """Return the compiled model, and the time for reading and compiling in nanoseconds."""
    hint = "throughput" if options.scenario == "offline" else "latency"
    settings = interface.Settings(
        options.accelerator, options.spec.threads, options.spec.streams, options.spec.precision, hint
    )
    begin = scenarios.now_ns()
    model = interface.load(model_file(release), settings)
    return model, scenarios.now_ns() - begin


def _first_inference(model: Model, image: Image) -> int:
    """Return the time of the first answer in nanoseconds, without decoding."""
    begin = scenarios.now_ns()
    model.infer(image)
    return scenarios.now_ns() - begin


def _image_loader(
    manifest: Dict[str, Any], images: ImageSet, options: RunOptions, order: SampleOrder
) -> scenarios.ImageLoader:
    """Return a function that reads and resizes images; with clock "inference", a speed run prepares them in advance."""
    from .. import image_io as reader

    size, crop = input_size(manifest), manifest["input"]["crop"]

    def fresh(index: int) -> Image:
        path = images.images[index].path
        try:
            return reader.resize(reader.read_image(path), size, crop)
        except ValueError as error:
            raise DeviceError(str(error), remedy="stage the images again") from None

    if options.spec.clock == "total" or options.scenario == "accuracy":
        return fresh
    ready = {index: fresh(index) for index in order.pool}
    return ready.__getitem__


def _run(
    model: Model, source: scenarios.ImageLoader, images: ImageSet, order: SampleOrder, options: RunOptions
) -> scenarios.ScenarioResult:
    if options.scenario == "accuracy":
        return scenarios.accuracy(model, source, images.images, order)
    if options.scenario == "offline":
        return scenarios.offline(model, source, order, scenarios.Limits(options.spec.seconds))
    return scenarios.single_stream(model, source, order, scenarios.Limits(options.spec.seconds, options.spec.queries))


def _result(run: scenarios.ScenarioResult, images: ImageSet) -> Dict[str, Any]:
    """Return the measurements; `accuracy` is null if no image was scored.

    In multi-label models, an image is correct if exactly its labels are predicted; `micro_f1` is over all decisions.
    """
    correct = sum(images.images[index].label == guess for index, guess in enumerate(run.predictions))
    judged = len(run.predictions)
    return {
        "samples_ms": [sample / 1e6 for sample in run.samples_ns],
        "wall_s": run.wall_ns / 1e9,
        "logged": run.logged,
        "predictions": run.predictions,
        "correct": correct if judged else None,
        "accuracy": correct / judged if judged else None,
        **({"micro_f1": _micro_f1(run.predictions, images)} if judged and images.images[0].multi_label else {}),
    }


def _micro_f1(predictions: Sequence[int], images: ImageSet) -> float:
    """Return the micro F1, 2 TP / (2 TP + FP + FN), over all images and labels."""
    pairs = [(predicted, images.images[index].label) for index, predicted in enumerate(predictions)]
    correct = sum(_count(predicted & label) for predicted, label in pairs)
    return 2 * correct / max(2 * correct + sum(_count(predicted ^ label) for predicted, label in pairs), 1)


def _count(labels: int) -> int:
    return bin(labels).count("1")  # noqa: FURB161 - int.bit_count needs Python 3.10
