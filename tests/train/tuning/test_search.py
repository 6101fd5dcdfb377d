"""What is tried on a machine, what is chosen of it, and a real process that rehearses."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from toolkit import networks
from toolkit.experiment.compute_profiles import ComputeProfile
from toolkit.progress import Silent
from toolkit.train.tuning import search
from toolkit.train.tuning.process import BenchmarkProcess, Measurement
from toolkit.train.tuning.search_space import Build, allocators_here, builds_here, candidates, faster_precision
from toolkit.train.tuning.worker import Workload, workloads_for

OWN = """
name = "own"
[data]
source = "synthetic-masks"
[matrix]
networks = ["mine", "vgg16"]
[networks.mine]
body = "mine.keras"
input_size = 32
[[stages]]
name = "fine-tune"
[train]
batch_size = 4
"""


def measured(name: str, *rates: float) -> Measurement:
    return Measurement(ComputeProfile(name=name), rates=list(rates))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An experiment with a body of its own, so small that a step takes no time."""
    networks.start_tensorflow()
    import keras

    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, 4, name="conv")(images)
    keras.Model(images, keras.layers.BatchNormalization(name="norm")(x)).save(tmp_path / "mine.keras")
    (tmp_path / "own.toml").write_text(OWN)
    return tmp_path / "own.toml"


def test_choose_keeps_the_plainest_when_others_are_hardly_faster() -> None:
    plain, other = measured("plain", 10, 10.1, 9.9), measured("other", 10.2, 10.2, 10.2)
    assert search.choose([plain, other]) is plain
    assert search.choose([plain, other, measured("fast", 11)]) is not plain
    assert search.choose([]) is None


def test_faster_half_keeps_one_at_least_in_the_given_order() -> None:
    three = [measured("a", 1), measured("b", 3), measured("c", 2)]
    assert [one.profile.name for one in search.keep_fastest_half(three)] == ["b", "c"]
    assert search.keep_fastest_half(three[:1]) == three[:1]


@pytest.mark.parametrize(("rate", "batch_size", "step"), [(100, 64, 64), (10, 64, 8), (0.5, 64, 2), (100, 1, 2)])
def test_step_for_lasts_no_longer_than_it_must(rate: float, batch_size: int, step: int) -> None:
    assert search.step_for(rate, batch_size) == step


def test_candidates_omit_openmp_when_build_has_none() -> None:
    tried = candidates([Build(None, mkl=False), Build(Path("/mkl"), mkl=True)], 4, [Path("/lib/libjemalloc.so.2")])
    assert [one.python for one in tried[:4]] == [None, Path("/mkl")] * 2
    assert len({one.name for one in tried}) == len(tried)
    for one in tried:
        assert ("KMP_BLOCKTIME" in one.environment) == (one.python is not None)
        assert (one.intra_op or 0) <= 4
    assert any(one.environment.get("LD_PRELOAD") for one in tried)


def test_candidates_use_one_thread_when_there_is_one_cpu() -> None:
    assert {one.intra_op for one in candidates([Build(None, mkl=True)], 1)} == {1}


def test_allocators_here_finds_the_first_of_each_name(tmp_path: Path) -> None:
    for name in ("x86_64-linux-gnu/libjemalloc.so.2", "libjemalloc.so.2", "x86_64-linux-gnu/libtcmalloc_minimal.so.4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in allocators_here([tmp_path])] == ["libjemalloc.so.2", "libtcmalloc_minimal.so.4"]


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx2", "float32"), ("fpu avx512_bf16 avx512f", "bfloat16"), ("amx_bf16", "bfloat16"), (None, "float32")],
)
def test_faster_precision_is_what_the_processor_supports(flags: str | None, precision: str) -> None:
    assert faster_precision("" if flags is None else f"model name\t: X\nflags\t\t: {flags}\nbugs\t: y\n") == precision


def test_builds_here_leaves_out_what_is_no_interpreter(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    assert [build.python for build in builds_here(tmp_path / "python")] == [None]


def test_pieces_of_takes_sizes_and_settings_from_the_experiment(own: Path) -> None:
    mine, vgg16 = workloads_for(str(own), None)
    assert (mine.network, mine.edge, mine.batch_size, mine.normalizing) == ("mine", 32, 4, False)
    assert (vgg16.network, vgg16.edge) == ("vgg16", 224)
    assert [workload.network for workload in workloads_for(str(own), "vgg16")] == ["vgg16"]
    assert workloads_for("inception_v3", None)[0].edge == 299


@pytest.mark.slow
def test_tune_measures_a_real_process_and_keeps_why(own: Path) -> None:
    (mine,) = workloads_for(str(own), "mine")
    broken = ComputeProfile(name="broken", environment={"PYTHONHOME": "/nowhere"})
    tuned = search.tune(mine, [ComputeProfile(name="plain", intra_op=1), broken], Silent(), limit_s=120)
    assert tuned.chosen.profile.name == "plain"
    assert tuned.chosen.rate > 0
    assert tuned.measured[-1].failure
    profile = tuned.profile("mine")
    assert (profile.intra_op, profile.precision) == (1, "float32")
    assert json.loads(json.dumps(tuned.to_json()))["chosen"] == "plain"


def test_rehearsal_is_out_of_time_when_the_deadline_has_passed() -> None:
    workload = Workload(network="mobilenet", edge=32, batch_size=2)
    with BenchmarkProcess(ComputeProfile(name="late"), workload) as late:
        assert not late.start(time.monotonic())
        assert late.measured.failure == "out of time"
