"""The whole conversion of a model against OpenVINO's own converter, bare: both from a .keras file to four IRs on disk.

Ours traces, lowers, checks FP16's ranges and writes FP32 and FP16 for a current CPU and for the Neural Compute Stick 2.
Theirs converts once and saves FP32 and FP16 twice, so that as much is written; what it writes no stick's runtime reads.
Each run is a process of its own; its imports are not counted, loading the model is. Parity is not in it: it is not conversion.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scores import Score, conclude

if TYPE_CHECKING:
    from toolkit.artifacts import TrainedModel

GOAL = 1 / 1.5
NETWORKS = {"MobileNet": 224, "InceptionV3": 299, "VGG16": 224}
METHOD = (
    "`just bench convert`: from a .keras file (random weights, no top, two classes) to FP32 and FP16 for cpu and ncs2, "
    "against bare openvino.convert_model and save_model of as many files. In turns, a process each, without its imports; "
    "the ratio is that of the medians of {repetitions}. Parity and the stick's compiler are not in it."
)


def ours(file: Path, folder: Path) -> None:
    """What convert_model does up to parity, for both targets and precisions."""
    from toolkit import compat
    from toolkit.artifacts import Workspace
    from toolkit.convert.forms import write_form
    from toolkit.convert.source import Source
    from toolkit.progress import Silent

    workspace = Workspace(folder)
    source = Source(described(file), workspace, Silent())
    for target in ("cpu", "ncs2"):
        for precision in ("fp32", "fp16"):
            write_form(source, compat.find_target(target), precision, folder / f"{target}-{precision}", Silent())


def theirs(file: Path, folder: Path) -> None:
    """The fewest words that make as many files."""
    import keras
    import openvino as ov

    model = keras.saving.load_model(file, compile=False)
    graph = ov.convert_model(model, input=[1, *model.inputs[0].shape[1:]])
    for half in (False, True):
        for number in (1, 2):
            ov.save_model(graph, folder / f"{half}-{number}.xml", compress_to_fp16=half)


def described(file: Path) -> TrainedModel:
    """The artifact that a Source is opened with; nothing was measured of it."""
    from toolkit.artifacts import Evaluation, TrainedModel

    nothing = Evaluation(
        part="test",
        pictures=0,
        loss=0,
        accuracy=0,
        interval=(0, 0),
        top5=None,
        classes=(),
        confusion=(),
        predictions=(),
    )
    return TrainedModel(
        digest="0" * 64,
        parent="",
        run="",
        experiment="",
        network=file.stem,
        head="softmax",
        stage="top",
        weights="none",
        note="",
        labels=("a", "b"),
        input_size=(NETWORKS[file.stem],) * 2,
        crop="resize",
        scaling="",
        path=str(file),
        parameters=0,
        history=(),
        evaluation=nothing,
        seconds=0,
    )


def one(who: str, file: Path) -> float:
    """Seconds of one conversion in this process, imports done before."""
    import openvino

    from toolkit.networks.runtime import start_tensorflow

    start_tensorflow()
    openvino.Core()
    with tempfile.TemporaryDirectory(prefix="bench-convert-") as folder:
        start = time.perf_counter()
        {"ours": ours, "theirs": theirs}[who](file, Path(folder))
        return time.perf_counter() - start


def in_a_process(who: str, file: Path) -> float:
    """The same in a process of its own."""
    words = [sys.executable, __file__, "--one", who, str(file)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def save_network(name: str, folder: Path) -> Path:
    """The network with random weights, its scaling inside, as a .keras file."""
    import keras

    size = NETWORKS[name]
    inputs = keras.Input((size, size, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    body = getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg", input_tensor=scaled)
    file = folder / f"{name}.keras"
    keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(body.output)).save(file)
    return file


def measure(name: str, folder: Path, repetitions: int) -> Score:
    """In turns, each first every other time."""
    file = save_network(name, folder)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(repetitions):
        for who in list(seconds)[:: 1 if turn % 2 == 0 else -1]:
            seconds[who].append(in_a_process(who, file))
            print(f"  {name}: {who} {seconds[who][-1]:.2f} s", file=sys.stderr)
    our, their = (statistics.median(seconds[who]) for who in ("ours", "theirs"))
    return Score(f"convert.{name.lower()}", their / our, GOAL, f"{our:.2f} s", f"{their:.2f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--one", nargs=2, metavar=("WHO", "FILE"), help="one conversion in this process; prints its seconds"
    )
    options = parser.parse_args(arguments)
    if options.one:
        who, file = options.one
        print(one(who, Path(file)))
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-convert-") as folder:
        scores = [measure(name, Path(folder), options.repetitions) for name in NETWORKS]
    return conclude(
        "convert", "Conversion against OpenVINO's own", METHOD.format(repetitions=options.repetitions), scores
    )


if __name__ == "__main__":
    sys.exit(main())
