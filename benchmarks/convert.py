"""The whole conversion of a model against OpenVINO's own converter, bare, and against Intel's of 2021, `mo`.

Against the first both go from a .keras file to four IRs on disk.

Ours traces, lowers, checks FP16's ranges and writes FP32 and FP16 for a current CPU and for the Neural Compute Stick 2.
Theirs converts once and saves FP32 and FP16 twice, so that as much is written; what it writes no stick's runtime reads.
Each run is a process of its own; its imports are not counted, loading the model is. Parity is not in it: it is not conversion.

`mo` 2021.4.2 runs in its own environment (intel_mo.py), from a graph that is frozen already, to FP32 and FP16: freezing is not
counted, nor are its imports. What Intel's compiler for the stick makes of its FP16 IR is set beside what it makes of ours.
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

import convert_results
import intel_mo
from scores import Score, conclude

if TYPE_CHECKING:
    from toolkit.artifacts.model import TrainedModel

GOAL = 1 / 1.5
GOAL_OF_MO = 3.0
NETWORKS = {"MobileNet": 224, "InceptionV3": 299, "VGG16": 224}
ONLY_COMPILED = {"ResNet50": 224}
"""Not timed: its strides are what moving them upstream is for."""
SIZES = NETWORKS | ONLY_COMPILED
METHOD = (
    "`just bench convert`: a .keras file (random weights, no top, two classes) is converted to FP32 and FP16 for cpu "
    "and ncs2; the reference is bare openvino.convert_model and save_model, writing the same number of files. The two "
    "take turns, each in a process of its own, and imports are not counted; the ratio is that of the medians of "
    "{repetitions}. Parity and the stick's compiler are not included. `mo` is Intel's Model Optimizer 2021.4.2 in its "
    "own environment; it is run once, from a graph that is already frozen, to FP32 and FP16, without its imports. "
    "Blobs and stages are the output of Intel's compiler for the stick from our FP16 IR and from that of `mo`."
)


def ours(file: Path, folder: Path) -> None:
    """What convert_model does up to parity, for both targets and precisions."""
    from toolkit import compat
    from toolkit.convert.ir_writer import write_ir
    from toolkit.convert.reference import ReferenceModel
    from toolkit.progress import Silent
    from toolkit.workspace import Workspace

    workspace = Workspace(folder)
    source = ReferenceModel(described(file, SIZES[file.stem]), workspace, Silent())
    for target in ("cpu", "ncs2"):
        for precision in ("fp32", "fp16"):
            write_ir(source, compat.find_target(target), precision, folder / f"{target}-{precision}", Silent())


def theirs(file: Path, folder: Path) -> None:
    """The fewest words that make as many files."""
    import keras
    import openvino as ov

    model = keras.saving.load_model(file, compile=False)
    graph = ov.convert_model(model, input=[1, *model.inputs[0].shape[1:]])
    for half in (False, True):
        for number in (1, 2):
            ov.save_model(graph, folder / f"{half}-{number}.xml", compress_to_fp16=half)


def described(file: Path, size: int) -> TrainedModel:
    """The artifact that a Source is opened with; nothing was measured of it."""
    from toolkit.artifacts.model import Evaluation, TrainedModel

    nothing = Evaluation(
        subset="test",
        images=0,
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
        input_size=(size, size),
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

    from toolkit.networks.tf_runtime import start_tensorflow

    start_tensorflow()
    openvino.Core()
    with tempfile.TemporaryDirectory(prefix="bench-convert-") as folder:
        start = time.perf_counter()
        {"ours": ours, "theirs": theirs}[who](file, Path(folder))
        return time.perf_counter() - start


def in_a_process(who: str, file: Path) -> float:
    """The same in a process of its own."""
    argv = [sys.executable, __file__, "--one", who, str(file)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def save_network(name: str, folder: Path) -> Path:
    """The network with random weights, its scaling inside, as a .keras file."""
    from toolkit.networks.tf_runtime import start_tensorflow

    start_tensorflow()
    import keras

    size = SIZES[name]
    inputs = keras.Input((size, size, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    body = getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg", input_tensor=scaled)
    file = folder / f"{name}.keras"
    keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(body.output)).save(file)
    return file


def measure(name: str, file: Path, repetitions: int) -> tuple[Score, float]:
    """In turns, each first every other time; the score, and our seconds."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(repetitions):
        for who in list(seconds)[:: 1 if turn % 2 == 0 else -1]:
            seconds[who].append(in_a_process(who, file))
            print(f"  {name}: {who} {seconds[who][-1]:.2f} s", file=sys.stderr)
    our, their = (statistics.median(seconds[who]) for who in ("ours", "theirs"))
    return Score(f"convert.{name.lower()}", their / our, GOAL, f"{our:.2f} s", f"{their:.2f} s"), our


def against_mo(name: str, file: Path, folder: Path, our_seconds: float | None) -> list[Score]:
    """What `mo` takes, unless it is only for the compiler, and what the stick's compiler makes of both IRs."""
    from toolkit import compat
    from toolkit.convert.ir_writer import write_ir
    from toolkit.convert.reference import ReferenceModel
    from toolkit.convert.runtimes.ncs2_check import compile_model
    from toolkit.progress import Silent
    from toolkit.workspace import Workspace

    intel_mo.freeze(file, folder / f"{name}.pb")
    theirs_at, ours_at = folder / f"{name}-mo", folder / f"{name}-ours"
    seconds = intel_mo.convert(folder / f"{name}.pb", theirs_at)
    print(f"  {name}: mo {seconds:.2f} s", file=sys.stderr)
    source = ReferenceModel(described(file, SIZES[name]), Workspace(ours_at), Silent())
    ours_xml = write_ir(source, compat.find_target("ncs2"), "fp16", ours_at / "form", Silent())
    our, their = (compile_model(xml, Silent()) for xml in (ours_xml, theirs_at / "fp16.xml"))
    key = f"convert.{name.lower()}"
    scores = [
        Score(f"{key}.stages", their.stages / our.stages, 1.0, str(our.stages), f"{their.stages} (mo)"),
        Score(
            f"{key}.blob",
            their.blob_bytes / our.blob_bytes,
            1.0,
            f"{our.blob_bytes / 1e6:.3f} MB",
            f"{their.blob_bytes / 1e6:.3f} MB (mo)",
        ),
    ]
    if our_seconds is not None:
        speed = Score(f"{key}.mo", seconds / our_seconds, GOAL_OF_MO, f"{our_seconds:.2f} s", f"{seconds:.2f} s (mo)")
        scores.insert(0, speed)
    return scores


def measure_all(folder: Path, repetitions: int) -> list[Score]:
    """Every network's scores; the files of each are gone before the next."""
    scores = []
    for name in SIZES:
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=folder) as own:
            file, seconds = save_network(name, Path(own)), None
            if name in NETWORKS:
                score, seconds = measure(name, file, repetitions)
                scores.append(score)
            scores += against_mo(name, file, Path(own), seconds)
    return scores


def _tolerances(parsed: Sequence[str]) -> dict[str, float]:
    """By network, "" for all others."""
    pairs = (text.rpartition("=") for text in parsed)
    return {network: float(difference) for network, _, difference in pairs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--one", nargs=2, metavar=("WHO", "FILE"), help="one conversion in this process; prints its seconds"
    )
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        metavar="WORKSPACE",
        help="write docs/results/conversion.md of trained models",
    )
    parser.add_argument(
        "--tolerance", action="append", default=[], metavar="[NETWORK=]DIFFERENCE",
        help="with --results: the largest difference allowed to FP16, of one network or of all others",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.results:
        return convert_results.results(options.results, _tolerances(options.tolerance))
    if options.one:
        who, file = options.one
        print(one(who, Path(file)))
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-convert-") as folder:
        scores = measure_all(Path(folder), options.repetitions)
    return conclude(
        "convert", "Conversion against OpenVINO's own", METHOD.format(repetitions=options.repetitions), scores
    )


if __name__ == "__main__":
    sys.exit(main())
