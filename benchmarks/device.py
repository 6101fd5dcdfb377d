"""The device code against OpenVINO's own benchmark_app: the same IR, precision, threads and streams, in turns.

Both are run as commands, A B B A …, so that whatever else the machine does falls on both; each score is the median of
the repetitions' ratios. Theirs infers the same tensor again and again; ours also copies an image in and the answer out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scores import Score, conclude

GOAL = 0.95
OVERHEAD_S, OVERHEAD_RUNS = 0.2, 9
SIZE = 224
METHOD = (
    "`just bench device`: the device code's bench (clock = inference) and OpenVINO's benchmark_app take turns on one IR "
    "(MobileNet 224, u8 images in, f32 inside), with the same threads and streams; the median ratio "
    "of {repetitions} repetitions of {seconds:g} s each. single-stream: median latency, theirs / ours. offline: samples per second, ours / theirs. "
    "overhead: what a run takes in the worker process that `toolkit bench` keeps on a device, from the request to the answer, "
    "without what the record holds: compiling, first inference, warm-up and measuring; the median of {overhead_runs} runs, the "
    "yardstick is the goal."
)


@dataclass(frozen=True)
class Case:
    """One scenario in both programs' words; `figure` is what is better when it is larger."""

    scenario: str
    api: str
    streams: int
    unit: str


def cases(cores: int) -> tuple[Case, ...]:
    """One query at a time on all cores; as many streams as cores."""
    return Case("single-stream", "sync", 1, "ms"), Case("offline", "async", cores, "samples/s")


def ours(folder: Path, case: Case, threads: int, seconds: float) -> float:
    """The device code's figure: median latency in ms, or samples per second."""
    argv = [sys.executable, "-m", "toolkit.device", "bench", folder, "--images", folder / "images"]
    argv += ["--root", folder, "--scenario", case.scenario, "--clock", "inference", "--precision", "f32"]
    argv += ["--seconds", seconds, "--queries", 1, "--threads", threads, "--streams", case.streams]
    answer = subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True)
    record = json.loads(answer.stdout)
    if case.scenario == "offline":
        return len(record["samples_ms"]) / float(record["wall_s"])
    return float(statistics.median(record["samples_ms"]))


def theirs(folder: Path, case: Case, threads: int, seconds: float) -> float:
    """benchmark_app's figure, read from its own JSON report."""
    program = Path(sys.executable).with_name("benchmark_app")
    with tempfile.TemporaryDirectory() as report:
        argv = [program, "-m", folder / "model.xml", "-d", "CPU", "-t", int(seconds), "-api", case.api]
        argv += ["-hint", "none", "-nthreads", threads, "-nstreams", case.streams, "-infer_precision", "f32"]
        argv += ["-ip", "u8", "-report_type", "no_counters", "-report_folder", report, "-json_stats"]
        subprocess.run([str(word) for word in argv], check=True, capture_output=True)
        results = json.loads(Path(report, "benchmark_report.json").read_text(encoding="utf-8"))["execution_results"]
    return float(results["throughput"] if case.scenario == "offline" else results["latency (ms)"])


def measure(folder: Path, case: Case, threads: int, seconds: float, repetitions: int) -> Score:
    """In turns, each beginning every other time; the score is the median of the repetitions' own ratios."""
    pairs = [one_of_each(folder, case, threads, seconds, turn) for turn in range(repetitions)]
    for our, their in pairs:
        print(f"  {case.scenario}: ours {our:.3f}, theirs {their:.3f} {case.unit}", file=sys.stderr)
    ratios = (our / their if case.scenario == "offline" else their / our for our, their in pairs)
    our, their = (statistics.median(column) for column in zip(*pairs, strict=True))
    score = statistics.median(ratios)
    return Score(f"device.{case.scenario}", score, GOAL, f"{our:.2f} {case.unit}", f"{their:.2f} {case.unit}")


def one_of_each(folder: Path, case: Case, threads: int, seconds: float, turn: int) -> tuple[float, float]:
    """(ours, theirs), measured in this order in even turns and the other way round in odd ones."""
    programs: tuple[Callable[..., float], ...] = (ours, theirs)
    order = programs if turn % 2 == 0 else programs[::-1]
    figures = {program: program(folder, case, threads, seconds) for program in order}
    return figures[ours], figures[theirs]


def overhead(folder: Path) -> Score:
    """Seconds of a run besides its figures, in one process for all runs."""
    argv = [str(folder), f"--images={folder / 'images'}", f"--root={folder}", "--scenario=single-stream"]
    argv += ["--clock=inference", "--precision=f32", "--seconds=0.2", "--queries=1"]
    worker = [sys.executable, "-m", "toolkit.device", "bench-worker"]
    seconds = []
    with subprocess.Popen(worker, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(1 + OVERHEAD_RUNS):
            began = time.monotonic()
            process.stdin.write(json.dumps(argv) + "\n")
            process.stdin.flush()
            record = json.loads(process.stdout.readline())
            whole = time.monotonic() - began
            figures_ms = record["compile_ms"] + record["first_inference_ms"] + sum(record["warm_up_ms"])
            seconds.append(whole - record["wall_s"] - figures_ms / 1e3)
        process.stdin.close()
    own = statistics.median(seconds[1:])  # the first one waits for the worker's imports
    return Score("device.overhead", OVERHEAD_S / own, 1.0, f"{own:.3f} s a run", f"{OVERHEAD_S} s")


def prepared() -> Path:
    """A folder with the IR, a manifest and a few images; made once, kept in the machine's temporary folder."""
    folder = Path(tempfile.gettempdir(), f"toolkit-benchmark-device-{os.getuid()}")
    if not (folder / "images" / "images.json").exists():
        folder.mkdir(exist_ok=True)
        _make_model(folder)
        _make_manifest(folder)
        _make_images(folder / "images", 16)
    return folder


def _make_model(folder: Path) -> None:
    import keras
    import openvino

    network = keras.applications.MobileNet(weights=None, input_shape=(SIZE, SIZE, 3))
    with tempfile.TemporaryDirectory() as saved:
        network.export(saved, verbose=False)
        model = openvino.convert_model(saved)
    preparation = openvino.preprocess.PrePostProcessor(model)
    preparation.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    preparation.input().preprocess().convert_element_type(openvino.Type.f32).mean(127.5).scale(127.5)
    model = preparation.build()
    model.reshape([1, SIZE, SIZE, 3])
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)


def _make_manifest(folder: Path) -> None:
    manifest = {
        "name": "mobilenet",
        "labels": [str(number) for number in range(1000)],
        "input": {"height": SIZE, "width": SIZE, "crop": "resize"},
        "golden": {"tolerance": {"CPU": 1e-4}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _make_images(folder: Path, count: int) -> None:
    import cv2
    import numpy as np

    folder.mkdir(exist_ok=True)
    chooser = np.random.default_rng(0)
    entries = []
    for number in range(count):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), chooser.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
        entries.append({"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "label": 0})
    (folder / "images.json").write_text(json.dumps({"format": 1, "images": entries}), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each run; whole seconds")
    parser.add_argument(
        "--repetitions", type=int, default=9, help="many short turns: a noisy machine changes its pace within seconds"
    )
    options = parser.parse_args(arguments)
    folder, cores = prepared(), len(os.sched_getaffinity(0))
    scores = [measure(folder, case, cores, options.seconds, options.repetitions) for case in cases(cores)]
    scores.append(overhead(folder))
    method = METHOD.format(repetitions=options.repetitions, seconds=options.seconds, overhead_runs=OVERHEAD_RUNS)
    return conclude("device", "The device code against benchmark_app", method, scores)


if __name__ == "__main__":
    sys.exit(main())
