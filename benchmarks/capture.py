"""What captures and drift detection cost the live app: its frame rate with them against that without, in turns of a second.

One process runs the app's stages at full speed (JPEG, 1280 by 720, from memory; MobileNet 224). Its listeners change each second:
none, captures, captures and drift. So whatever else the machine does falls on all of them. Captures have all policies, masks (each
image is decoded and encoded again), no cool-down but one second, and one frame in 200 by chance: more than anybody wants.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from app_stages import Memory, begin_pipeline
from device import prepared
from scores import Score, conclude

from toolkit.convert.training_embedding import describe_images
from toolkit.device.app.captures.capture_settings import CaptureLimits, CaptureSettings
from toolkit.device.app.captures.recorder import CaptureRecorder
from toolkit.device.app.drift.drift_settings import DriftSettings
from toolkit.device.app.drift.embedding import TrainingDistance
from toolkit.device.app.drift.monitor import DriftMonitor
from toolkit.device.app.pipeline.frame_pipeline import FramePipeline, Listener
from toolkit.device.app.regions import Region

TURN_S, GOAL = 1.0, 0.97
METHOD = (
    "`just bench capture`: {rounds} rounds; in each, the app's stages run at full speed for a second without listeners, with "
    "captures, and with captures and drift detection by all six signals. Captures: all policies, a mask, a cool-down of a second, one frame in 200 by "
    "chance; {stored:.1f} images a second were stored, and {dropped:.1f} dropped, because the thread has the lowest priority. frames: median ratio of the answered frames. CPU: median ratio of the process "
    "time of a frame, in which other programs count less."
)
Turn = tuple[float, float]
"""Frames per second, and CPU milliseconds per frame."""


def measure(app: FramePipeline, listeners: list[Listener]) -> Turn:
    """Run one turn with these listeners."""
    app.listeners = listeners
    begin, spent, before = time.monotonic(), time.process_time(), app.counters["answered"]
    time.sleep(TURN_S)
    passed, used, count = time.monotonic() - begin, time.process_time() - spent, app.counters["answered"] - before
    return count / passed, 1000 * used / count


def scores_of(name: str, without: Sequence[Turn], with_it: Sequence[Turn]) -> list[Score]:
    """Return the ratios of frames and of CPU time."""
    (fps, cpu), (fps_without, cpu_without) = (
        tuple(statistics.median(column) for column in zip(*rounds, strict=True)) for rounds in (with_it, without)
    )
    pairs = [*zip(with_it, without, strict=True)]
    frames = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
    cpu_time = statistics.median(theirs[1] / ours[1] for ours, theirs in pairs)
    return [
        Score(f"{name}.frames", frames, GOAL, f"{fps:.1f} frames/s", f"{fps_without:.1f} frames/s"),
        Score(f"{name}.cpu", cpu_time, GOAL, f"{cpu:.2f} ms a frame", f"{cpu_without:.2f} ms a frame"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of three seconds")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True, help="write docs/performance.md")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        limits = CaptureLimits(cool_down_s=1, random_every=200, reserve_mib=0, most=500)
        settings = CaptureSettings(Path(folder), limits, masks=(Region(0, 0, 0.3, 1),))
        captures = CaptureRecorder(settings, "memory", lambda text: print(text, file=sys.stderr))
        random_images = np.random.default_rng(0).integers(0, 256, (100, 224, 224, 3), np.uint8)
        distance = TrainingDistance(describe_images(random_images))
        drift = DriftMonitor(
            DriftSettings(Path(folder)), lambda _: None, lambda *_: None, find_distance=lambda _: distance
        )
        app = begin_pipeline(prepared(), None, Memory(), 0)
        captures.start()
        kinds: dict[str, list[Listener]] = {
            "without": [], "captures": [captures.see], "captures+drift": [captures.see, drift.see]
        }  # fmt: skip
        measure(app, kinds["captures+drift"])  # warm-up
        rounds: dict[str, list[Turn]] = {name: [] for name in kinds}
        before = captures.state()
        for number in range(options.rounds):
            for name in [*kinds][:: 1 if number % 2 == 0 else -1]:
                rounds[name].append(measure(app, kinds[name]))
        after, passed_s = captures.state(), 2 * TURN_S * options.rounds
        print(f"  {after}", file=sys.stderr)
        captures.end(10)
        app.end()
    scores = [
        score for name in [*kinds][1:] for score in scores_of(name, rounds["without"], rounds[name])
    ]  # fmt: skip
    rates = {name: (after[name] - before[name]) / passed_s for name in ("stored", "dropped")}
    method = METHOD.format(rounds=options.rounds, **rates)
    return conclude("capture", "Captures and drift", method, scores, keep=options.keep)


if __name__ == "__main__":
    sys.exit(main())
