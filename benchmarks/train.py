"""Training against the papers' recipe: the top layers, and the input pipeline alone, on the synthetic masks.

    just bench train [PART…] [--quick]

Each measurement is a process of its own, in turns: ours is benchmarks/training.py, theirs benchmarks/papers.py in the stock
build of TensorFlow and, where .venv-mkl is set up, in the MKL/OpenMP build that heeds all of their settings: the faster one counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import train_speed
import training
from scores import Score, conclude

REPOSITORY = Path(__file__).resolve().parents[1]
TOP_GOAL, PIPELINE_GOAL = 10.0, 4.0
TOP_METHOD = (
    "`just bench train top`: from image files to trained and evaluated top layers of E1's MobileNet, with both heads, "
    "{epochs} epochs each, batches of 64, on {images} images of synthetic masks at 224 pixels (E1 has 4,473). All "
    "start from the same initial weights: random ones that were trained on 512 of the images for 3 epochs. Ours is "
    "everything that `toolkit train` does in an empty workspace: checking, decoding, tracing, features, heads, models "
    "and metrics. Theirs is ImageDataGenerator and model.fit with the papers' thread settings, in the faster of "
    "{builds}. Imports are not counted. The ratio is that of the medians of {repetitions}. Accuracy (ours: the median "
    "of three seeds) is compared with the lower end of the 95 % interval of theirs."
)
PIPELINE_METHOD = (
    "`just bench train pipeline`: {epochs} epochs of the training images as batches of 64 at 224 pixels, without "
    "training, starting with empty caches. Theirs is ImageDataGenerator, in the faster of {builds}. Medians of "
    "{repetitions}."
)


@dataclass(frozen=True)
class Setting:
    """Where the images and the first weights lie, and how long to measure."""

    folder: Path
    epochs: int
    repetitions: int
    pythons: dict[str, Path]
    """Interpreters for theirs, by the build of TensorFlow."""
    keep: bool
    """Whether what is measured goes to docs/performance.md."""

    def ours(self, what: str) -> dict[str, Any]:
        """One measurement of ours in a process of its own, in an empty workspace."""
        with tempfile.TemporaryDirectory(prefix="workspace-", dir=self.folder) as workspace:
            return _run([sys.executable, Path(__file__).with_name("training.py"), what, self.folder, workspace])

    def theirs(self, what: str, build: str) -> dict[str, Any]:
        """One of theirs, under the settings that the papers print."""
        from toolkit.experiment.compute_profiles import PAPER

        program = Path(__file__).with_name("papers.py")
        argv = [self.pythons[build], program, what, self.folder, self.epochs]
        return _run(argv, PAPER.applied_environment())

    def interleaved(self, what: str) -> dict[str, list[dict[str, Any]]]:
        """By "ours" and the builds: every repetition, each first every other time."""
        taken: dict[str, list[dict[str, Any]]] = {"ours": [], **{build: [] for build in self.pythons}}
        for measure in range(self.repetitions):
            for who in list(taken)[:: 1 if measure % 2 == 0 else -1]:
                taken[who].append(self.ours(what) if who == "ours" else self.theirs(what, who))
                print(f"  {what}: {who} {taken[who][-1]}", file=sys.stderr)
        return taken


def top(setting: Setting) -> int:
    """How much sooner both heads are trained, and whether they are as good."""
    taken = setting.interleaved("top")
    their_build, score = _compared("train.top", taken, TOP_GOAL)
    images = sum(1 for _ in (setting.folder / "images").rglob("*.jpg"))
    method = TOP_METHOD.format(
        epochs=setting.epochs, images=images, builds=_build_names(setting), repetitions=setting.repetitions
    )
    judged = [
        _as_good(head, taken["ours"][0], taken[their_build][0], setting.folder) for head in ("sigmoid", "softmax")
    ]
    return conclude("train-top", "Top layers against the papers' recipe", method, [score, *judged], keep=setting.keep)


def pipeline(setting: Setting) -> int:
    """How much sooner the images are there."""
    _, score = _compared("train.pipeline", setting.interleaved("pipeline"), PIPELINE_GOAL)
    method = PIPELINE_METHOD.format(
        epochs=setting.epochs, builds=_build_names(setting), repetitions=setting.repetitions
    )
    return conclude(
        "train-pipeline", "The input pipeline against ImageDataGenerator", method, [score], keep=setting.keep
    )


def speed(setting: Setting) -> int:
    """How many more images a second are fine-tuned."""
    return train_speed.speed(quick=not setting.keep, keep=setting.keep)


PARTS = {"top": top, "pipeline": pipeline, "speed": speed}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a look: an eighth of the images, two epochs, once")
    parser.add_argument("--repetitions", type=int, default=1, help="each takes minutes, so that noise averages out")
    options = parser.parse_args(arguments)
    if strangers := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(strangers))}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
        epochs, repetitions = (2, 1) if options.quick else (5, options.repetitions)
        setting = Setting(Path(folder), epochs, repetitions, _pythons(), keep=not options.quick)
        training.prepared(setting.folder, setting.epochs, quick=options.quick)
        return max(PARTS[part](setting) for part in options.parts or PARTS)


def _compared(name: str, taken: dict[str, list[dict[str, Any]]], goal: float) -> tuple[str, Score]:
    """The faster of their builds, and the score against it."""
    medians = {who: statistics.median(each["seconds"] for each in runs) for who, runs in taken.items()}
    ours = medians.pop("ours")
    build, theirs = min(medians.items(), key=lambda item: item[1])
    return build, Score(name, theirs / ours, goal, f"{ours:.2f} s", f"{theirs:.2f} s ({build})")


def _as_good(head: str, ours: dict[str, Any], theirs: dict[str, Any], folder: Path) -> Score:
    """Our test accuracy as a share of theirs; the goal is the lower end of their interval."""
    from toolkit.stats.intervals import wilson

    images = sum(1 for _ in (folder / "images" / "test").rglob("*.jpg"))
    our, their = ours["accuracies"][head], theirs["accuracies"][head]
    low, high = wilson(round(their * images), images)
    shown = f"{their:.3f} (95 % {low:.3f} to {high:.3f})"
    return Score(f"train.top-accuracy-{head}", our / their, low / their, f"{our:.3f}", shown)


def _pythons() -> dict[str, Path]:
    """The builds of TensorFlow that are set up here."""
    mkl = REPOSITORY / ".venv-mkl" / "bin" / "python"
    return {"stock": Path(sys.executable)} | ({"mkl": mkl} if mkl.exists() else {})


def _build_names(setting: Setting) -> str:
    return " and ".join(f"the {build} build" for build in setting.pythons)


def _run(argv: Sequence[object], environment: dict[str, str] | None = None) -> dict[str, Any]:
    """A process that prints JSON last."""
    plain = [str(word) for word in argv]
    done = subprocess.run(plain, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(plain)}\n{done.stderr}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    sys.exit(main())
