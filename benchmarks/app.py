"""The live app's stages against what the machine allows, against the loop that one would write first, and under fifty clients.

    ideal        cores / (CPU time of decoding a frame + CPU time of benchmark_app's offline inference of one), both measured apart
    synchronous  read, resize, infer on all cores, write the label on the image; one frame after the other

All of them work on the same encoded frames (JPEG, 1280 by 720) and the same IR, in turns, each in a process of its own; a score is
the median of the repetitions' own ratios. The clients are a process of their own beside the app, on a core that is not the app's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from device import prepared
from scores import Score, conclude

HERE = Path(__file__).parent
HEIGHT, WIDTH, FRAMES = 720, 1280, 24
CLIENTS, LIVE_FPS = 50, 15
METHOD = (
    "`just bench app`: the live app classifies {count} JPEG images of {width} x {height} pixels from memory with one "
    "IR (MobileNet 224, precision {precision}) on {cores} cores, in {repetitions} rounds of {seconds:g} s. ideal: the "
    "cores divided by the CPU time of one image, which is that of cv2.imdecode plus that of offline inference in "
    "benchmark_app. synchronous: a loop of imdecode, resize, inference on all cores with the latency hint, and "
    "putText. added latency: the time a frame waits between stages at {fps} frames/s, 99th percentile, compared with "
    "the time between two frames. CPU: process time per frame at full speed, compared with decoding plus inference. "
    "clients: the app's results per second, including those of API requests, alone and with 25 clients on /stream and "
    "25 on the API, each of which sends an image and reads the state every second; the clients have one core to "
    "themselves, the app has the others."
)


def run(argv: Sequence[object], cores: set[int] | None = None) -> dict[str, Any]:
    """One JSON document from a program, on some of the cores."""
    command = [sys.executable, *(str(word) for word in argv)]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, cores) if cores else None,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def benchmark_app(folder: Path, seconds: float, precision: str | None) -> float:
    """CPU time in ms of one inference in benchmark_app's offline mode: its children's time, without that of loading."""
    program = Path(sys.executable).with_name("benchmark_app")
    argv = [program, "-m", folder / "model.xml", "-d", "CPU", "-hint", "throughput", "-ip", "u8"]
    argv += ["-infer_precision", precision] if precision else []
    spent: list[float] = []
    counts: list[float] = []
    for length in (1, 1 + int(seconds)):
        before = os.times()
        with tempfile.TemporaryDirectory() as report:
            more = ["-t", length, "-report_type", "no_counters", "-report_folder", report, "-json_stats"]
            subprocess.run([str(word) for word in [*argv, *more]], check=True, capture_output=True)
            answer = json.loads(Path(report, "benchmark_report.json").read_text(encoding="utf-8"))["execution_results"]
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        counts.append(float(answer["total number of iterations"]))
    return 1000 * (spent[1] - spent[0]) / (counts[1] - counts[0])


def round_(folder: Path, seconds: float, precision: str | None, number: int) -> dict[str, float]:
    """Everything once, in this order in even turns and the other way round in odd ones."""
    arguments = [folder, seconds, precision or ""]
    programs: dict[str, Callable[[], Any]] = {
        "decode": lambda: run([HERE / "app_stages.py", "decode", *arguments])["cpu_ms"],
        "infer": lambda: benchmark_app(folder, seconds, precision),
        "sync": lambda: run([HERE / "app_stages.py", "synchronous", *arguments])["fps"],
        "app": lambda: run([HERE / "app_stages.py", "pipeline", *arguments]),
    }
    order = list(programs) if number % 2 == 0 else list(programs)[::-1]
    result = {name: programs[name]() for name in order}
    app = result.pop("app")
    cores = len(os.sched_getaffinity(0))
    ideal = 1000 * cores / (result["decode"] + result["infer"])
    print(f"  turn {number}: {result} app {app} ideal {ideal:.1f}", file=sys.stderr)
    return {**result, "fps": app["fps"], "cpu": app["cpu_ms"], "ideal": ideal}


def speeds(folder: Path, seconds: float, precision: str | None, repetitions: int) -> list[Score]:
    """Frames a second against both yardsticks, and CPU time a frame."""
    rounds = [round_(folder, seconds, precision, number) for number in range(repetitions)]

    def median(values: list[float]) -> float:
        return statistics.median(values)

    fps = f"{median([one['fps'] for one in rounds]):.1f} frames/s"
    ideal, sync = median([one["ideal"] for one in rounds]), median([one["sync"] for one in rounds])
    cpu, parts = median([one["cpu"] for one in rounds]), median([one["decode"] + one["infer"] for one in rounds])
    against_parts = median([(one["decode"] + one["infer"]) / one["cpu"] for one in rounds])
    return [
        Score("app.ideal", median([one["fps"] / one["ideal"] for one in rounds]), 0.90, fps, f"{ideal:.1f} frames/s"),
        Score(
            "app.synchronous", median([one["fps"] / one["sync"] for one in rounds]), 1.5, fps, f"{sync:.1f} frames/s"
        ),
        Score("app.cpu", against_parts, 0.85, f"{cpu:.2f} ms a frame", f"{parts:.2f} ms a frame"),
    ]


def latency(folder: Path, seconds: float, precision: str | None) -> Score:
    """The 99th percentile of what the stages add, at a camera's pace, against the time between two frames."""
    answer = run([HERE / "app_stages.py", "live", folder, max(seconds, 700 / LIVE_FPS), precision or "", LIVE_FPS])
    print(f"  live: {answer}", file=sys.stderr)
    step_ms = 1000 / LIVE_FPS
    return Score(
        "app.added-p99", step_ms / answer["added_p99_ms"], 1.0, f"{answer['added_p99_ms']:.1f} ms", f"{step_ms:.1f} ms"
    )


def crowd(folder: Path, seconds: float, precision: str | None, repetitions: int) -> Score:
    """Answers a second with and without clients."""
    cores = sorted(os.sched_getaffinity(0))
    app, clients = set(cores[:-1] or cores), set(cores[-1:])
    pairs, asked = [], 0.0
    for number in range(repetitions):
        figures = {}
        for busy in (False, True) if number % 2 == 0 else (True, False):
            argv = [HERE / "app_stages.py", "served", folder, seconds, precision or "", CLIENTS if busy else 0]
            argv += [",".join(map(str, clients))]
            answer = run(argv, app)
            print(f"  served to {CLIENTS if busy else 0}: {answer}", file=sys.stderr)
            figures[busy] = answer["fps"]
            asked += answer["predicted_a_second"] / repetitions
        pairs.append((figures[True], figures[False]))
    ratio = statistics.median(busy / alone for busy, alone in pairs)
    busy, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Score(
        "app.clients", ratio, 0.95, f"{busy:.1f} answers/s, {asked:.1f} of them to the API", f"{alone:.1f} answers/s"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each run")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--precision", choices=("f32", "bf16"), help="default: what the processor does best, as on a device"
    )
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help="write docs/performance.md")
    options = parser.parse_args(arguments)
    folder = prepared()
    scores = speeds(folder, options.seconds, options.precision, options.repetitions)
    scores.append(latency(folder, options.seconds, options.precision))
    scores.append(crowd(folder, options.seconds, options.precision, options.repetitions))
    method = METHOD.format(
        count=FRAMES, width=WIDTH, height=HEIGHT, cores=len(os.sched_getaffinity(0)), fps=LIVE_FPS,
        precision=options.precision or "of the processor's own choice",
        repetitions=options.repetitions, seconds=options.seconds,
    )  # fmt: skip
    return conclude("app", "The live app", method, scores, keep=options.keep)


if __name__ == "__main__":
    sys.exit(main())
