"""Accuracy of the default recipe against logistic regression on frozen features, Keras' guide and the former defaults.

    just bench accuracy [SET…] [--seeds 3] [--cache FOLDER]

Every set and seed is a process of its own whose results stay in the cache folder, so that a run that was stopped goes on
where it was, and `--cached` writes the table of what there is. A result of ours counts for the recipe that made it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accuracy_data
from accuracy_cell import BATCH, ERROR, METHODS, TOP_EPOCHS, WHOLE_EPOCHS
from accuracy_data import DataSet
from scores import Score, conclude

REPOSITORY = Path(__file__).resolve().parents[1]
YARDSTICKS = {"logistic": "logistic regression", "keras": "Keras' guide", "former": "the former defaults"}
WRONG = 0.1
SETS = (
    DataSet("masks", 20),
    DataSet("fashion-mnist", 20),
    DataSet("faces", 5),
    DataSet("masks", 20, WRONG),
    DataSet("fashion-mnist", 20, WRONG),
    DataSet("faces", 5, WRONG),
    DataSet("masks", 100),
    DataSet("fashion-mnist", 100),
    DataSet("masks", 100, WRONG),
    DataSet("fashion-mnist", 100, WRONG),
    DataSet("masks", 500),
    DataSet("fashion-mnist", 500),
    DataSet("masks", 500, WRONG),
    DataSet("fashion-mnist", 500, WRONG),
)
"""The quickest first."""
RECIPE_FILES = (
    "data/augmentation/augment.py",
    "experiment/recipe.py",
    "train/stage_gate.py",
    *(f"train/fitting/{name}.py" for name in ("head_solver", "logistic", "loop", "optimizer")),
)
"""What decides our results."""
BETTER, SECONDS = 0.015, 60.0
METHOD = (
    "`just bench accuracy`: EfficientNet-Lite0 with ImageNet weights at {size} pixels and default settings. The "
    "number in a set's name is the number of training images per class; there are a fifth as many validation images. "
    "In the wrong-labels sets 10 % of both have a wrong label; test images are labeled correctly. {sets}. Figures are "
    "medians of the seeds. References on the same images: scikit-learn's LogisticRegressionCV on standardized "
    "features of the frozen backbone, and Keras' transfer-learning guide (dropout 0.2, Adam; {top} epochs of the top "
    "layers at 1e-3, {whole} of the whole network at 1e-5, batches of {batch}, no augmentation), and the toolkit's former "
    "defaults (a hidden layer of 1,024; 5 epochs of Adam at 1e-3 in each stage). accuracy: ours divided by the best of "
    "them; the goal is the lower end of its 95 % interval. gain: ours minus that of the "
    "reference that is best on average, in points (goal: 1.5), once all sets are measured. top: the offered model "
    "compared with our own top stage, in the same way. rejection: with `[reject] error = {error}`; the goal is met "
    "where the 95 % interval of the share of wrong answers includes it or lies below; sets on which nothing is "
    "answered are left out. strangers: images of classes that were left out; area under the ROC curve of the chosen "
    "score, divided by that of the largest probability. time: one process from image files to evaluated models."
)


@dataclass(frozen=True)
class Bench:
    """Where the results lie, and what to measure."""

    cache: Path
    fashion_mnist: Path
    size: int
    cached: bool
    """Whether nothing is measured."""

    def cell(self, data_set: DataSet, seed: int) -> dict[str, dict[str, Any]]:
        """The results of a set and a seed by method; those that are not there yet are measured."""
        missing = [] if self.cached else [name for name in METHODS if not self._path(data_set, seed, name).exists()]
        if missing:
            for result in self._measured(data_set, seed, missing):
                _save(result, self._path(data_set, seed, result["method"]))
        paths = {name: self._path(data_set, seed, name) for name in METHODS}
        return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}

    def _measured(self, data_set: DataSet, seed: int, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
        program, folder = Path(__file__).with_name("accuracy_cell.py"), self._folder(data_set, seed)
        argv = [str(word) for word in (sys.executable, program, folder, seed, self.size, *methods)]
        started = time.perf_counter()
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith('{"method"'):
                    result = json.loads(line) | {"process_seconds": time.perf_counter() - started}
                    print(f"  {data_set.name} {seed} {result['method']}: {result['accuracy']:.4f}", file=sys.stderr)
                    yield result
        if process.returncode:
            sys.exit(f"{' '.join(argv)}: exit code {process.returncode}")

    def _path(self, data_set: DataSet, seed: int, method: str) -> Path:
        version = f"-{recipe_digest()}" if method == "ours" else ""
        return self.cache / "results" / f"{data_set.name}-{self.size}-{seed}-{method}{version}.json"

    def _folder(self, data_set: DataSet, seed: int) -> Path:
        """The images of a set and seed, written once."""
        from toolkit.workspace import Workspace

        folder = self.cache / "sets" / f"{data_set.name}-{seed}"
        if not folder.exists():
            shutil.rmtree(part := folder.with_suffix(".part"), ignore_errors=True)
            pools = accuracy_data.read_pools(data_set.source, Workspace(self.cache / "sources"), self.fashion_mnist)
            data_set.write(part / "images", seed, pools)
            part.rename(folder)
        return folder


def recipe_digest() -> str:
    """A digest of the code that decides our results."""
    content = b"".join((REPOSITORY / "toolkit" / name).read_bytes() for name in RECIPE_FILES)
    return hashlib.sha256(content).hexdigest()[:8]


def scores(table: dict[str, list[dict[str, dict[str, Any]]]]) -> list[Score]:
    """The figures of all sets that have every method's results."""
    whole = {name: [cell for cell in cells if set(cell) == set(METHODS)] for name, cells in table.items()}
    whole = {name: cells for name, cells in whole.items() if cells}
    made = [score for name, cells in whole.items() for score in _of_set(name, cells)]
    if len(whole) == len(SETS) and all(len(cells) == len(table[name]) for name, cells in whole.items()):
        made.append(_gain(whole))  # the mean of a few sets would say little
    return [*made, *_time(whole)]


def _of_set(name: str, cells: Sequence[dict[str, dict[str, Any]]]) -> Iterator[Score]:
    best = max(YARDSTICKS, key=lambda method: _median(cells, method))
    ours, theirs, images = _median(cells, "ours"), _median(cells, best), cells[0]["ours"]["images"]
    yield _held(f"accuracy.{name}", ours, theirs, images, YARDSTICKS[best])
    tops = statistics.median(cell["ours"]["top"] for cell in cells)
    yield _held(f"accuracy.{name}-top", ours, tops, images, "our top stage")
    answers = sum(cell["ours"]["answers"] for cell in cells)
    errors = sum(cell["ours"]["errors"] for cell in cells)
    if answers:  # no answer holds every error rate
        yield _rejection(name, errors, answers, images * len(cells))
    areas = [cell["ours"]["strangers"] for cell in cells if cell["ours"]["strangers"]]
    if areas:
        own, usual = (statistics.median(area[kind] for area in areas) for kind in (0, 1))
        yield Score(f"accuracy.{name}-strangers", own / usual, 1.0, f"{own:.4f}", f"{usual:.4f} (largest probability)")


def _held(name: str, ours: float, theirs: float, images: int, who: str) -> Score:
    """Ours as a share of theirs; the goal is the lower end of their interval."""
    from toolkit.stats.intervals import wilson

    low, high = wilson(round(theirs * images), images)
    return Score(
        name, ours / theirs, low / theirs, f"{ours:.3f}", f"{theirs:.3f} ({who}; 95 % {low:.3f} to {high:.3f})"
    )


def _rejection(name: str, errors: int, answers: int, images: int) -> Score:
    """How far the lower end of the interval of the rate of errors is below the stated one."""
    from toolkit.stats.intervals import wilson

    low, high = wilson(errors, answers)
    shown = f"{errors / answers:.3f} (95 % {low:.3f} to {high:.3f}), {answers / images:.0%} answered"
    return Score(f"accuracy.{name}-rejection", (1 - low) / (1 - ERROR), 1.0, shown, f"{ERROR:.3f}")


def _gain(table: dict[str, list[dict[str, dict[str, Any]]]]) -> Score:
    """How much better ours are, on average, than the yardstick that is best on average."""
    means = {name: statistics.mean(_median(cells, name) for cells in table.values()) for name in METHODS}
    best = max(YARDSTICKS, key=lambda name: means[name])
    gain = means["ours"] - means[best]
    shown = f"{100 * means['ours']:.2f} %", f"{100 * means[best]:.2f} % ({YARDSTICKS[best]}), mean of {len(table)} sets"
    return Score("accuracy.gain", gain / BETTER, 1.0, *shown)


def _time(table: dict[str, list[dict[str, dict[str, Any]]]]) -> Iterator[Score]:
    for name in (name for name in table if name == "fashion-mnist-20"):
        seconds = statistics.median(cell["ours"]["process_seconds"] for cell in table[name])
        yield Score("accuracy.time", SECONDS / seconds, 1.0, f"{seconds:.0f} s ({name})", f"{SECONDS:.0f} s")


def _median(cells: Sequence[dict[str, dict[str, Any]]], method: str) -> float:
    return float(statistics.median(cell[method]["accuracy"] for cell in cells))


def _save(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result), encoding="utf-8")
    part.rename(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {data_set.name: data_set for data_set in SETS}
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"only these: {', '.join(names)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=96, help="pixels of each side (default: 96)")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / "workspace" / "bench-accuracy")
    parser.add_argument(
        "--cached", action="store_true", help="measure nothing: the table of the results that there are"
    )
    parser.add_argument("--keep", action="store_true", help="write docs/performance.md although sets are left out")
    parser.add_argument("--fashion-mnist", type=Path, default=accuracy_data.FASHION_MNIST, metavar="FOLDER")
    options = parser.parse_args(arguments)
    if unknown := set(options.sets) - set(names):
        parser.error(f"no set {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    bench = Bench(options.cache, options.fashion_mnist, options.size, options.cached)
    table = {name: [bench.cell(names[name], seed) for seed in range(options.seeds)] for name in options.sets or names}
    seeds = {name: sum(set(cell) == set(METHODS) for cell in cells) for name, cells in table.items()}
    method = METHOD.format(
        size=options.size,
        sets="Seeds: " + ", ".join(f"{name} {count}" for name, count in seeds.items()),
        top=TOP_EPOCHS,
        whole=WHOLE_EPOCHS,
        batch=BATCH,
        error=ERROR,
    )
    keep = options.keep or not options.sets
    return conclude("accuracy", "Accuracy of the default recipe", method, scores(table), keep=keep)


if __name__ == "__main__":
    sys.exit(main())
