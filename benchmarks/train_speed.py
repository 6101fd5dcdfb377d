"""Fine-tuning the papers' networks: images/s under the tuned profile, against the machine's limit, the stock wheel and the papers.

Part of `just bench train`. Everybody is a process of its own; they take turns with the same batches of the same images. Float32
is compared with the limit of the multipliers, which limit_step.py measures in the same rounds under the same profile: images/s =
operations/s of a large matrix product / operations of a training step per image. Its docstring has the formula and its source.
Bfloat16 is compared with the stock wheel in its default settings, and with the papers' settings.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from scores import Score, conclude

from toolkit.experiment.compute_profiles import PAPER, PLAIN, ComputePrecision, ComputeProfile
from toolkit.progress import Silent
from toolkit.system.cpu_quota import available_cpus
from toolkit.train.tuning import search, search_space
from toolkit.train.tuning.process import BenchmarkProcess, Measurement
from toolkit.train.tuning.worker import Workload

NETWORKS = (("mobilenet", 224), ("inception_v3", 299), ("vgg16", 224))
STOCK_GOAL, PAPER_GOAL = 1.8, 3.0
LIMIT_GOALS = {"mobilenet": 0.75, "inception_v3": 0.9, "vgg16": 0.9}
PAPERS = (str(Path(__file__).with_name("papers_step.py")),)
LIMIT = (str(Path(__file__).with_name("limit_step.py")),)
METHOD = (
    "`just bench train speed`: images per second while fine-tuning the whole network with a hidden layer of 1,024, in "
    "batches of {batch}, on images of noise and with random weights; medians of the steps in {rounds} rounds, in which "
    "all take turns. Ours is the toolkit's step under the profile that `toolkit tune` chose, in float32 and, if the "
    "processor has instructions for it, in bfloat16. limit: products of 3,072 x 3,072 matrices in float32 with the operations of "
    "a training step (6 per multiply-add and image), under the same profile; the reference of float32. stock and paper: Keras' "
    "own train_on_batch, in the stock wheel with default settings, and in {paper} with the papers' literal thread settings; "
    "the references of bfloat16."
)


@dataclass(frozen=True)
class Player:
    """Somebody who takes turns."""

    name: str
    profile: ComputeProfile
    program: tuple[str, ...] = ("-m", "toolkit.train.tuning.worker")
    precision: ComputePrecision = "float32"


def speed(*, quick: bool, keep: bool) -> int:
    """Measure the three networks, print, keep."""
    builds = search_space.builds_here()
    batch, rounds = (4, 1) if quick else (16, 3)
    scores = []
    for network, edge in NETWORKS:
        workload = Workload(network=network, edge=edge, batch_size=batch)
        measured = _interleave(_players(workload, builds, quick=quick), workload, rounds)
        for name, one in measured.items():
            print(f"  {network}: {name}: {one.rate:.2f} images/s {one.failure}", file=sys.stderr)
        scores += _scores(network, measured)
    paper = "the MKL build" if any(build.mkl for build in builds) else "the stock wheel"
    method = METHOD.format(batch=batch, rounds=rounds, paper=paper)
    return conclude("train-speed", "Fine-tuning under the tuned profile", method, scores, keep=keep)


def _players(workload: Workload, builds: Sequence[search_space.Build], *, quick: bool) -> list[Player]:
    tried = search_space.candidates(builds, available_cpus(), search_space.allocators_here())
    tuned = search.tune(workload, tried[: 2 if quick else None], Silent(), limit_s=search.LIMIT_S)
    chosen = tuned.chosen.profile
    stock = next((build.python for build in builds if not build.mkl), None)
    mkl = next((build.python for build in builds if build.mkl), stock)
    players = [
        Player(f"ours ({chosen.name})", chosen),
        Player("limit", chosen, LIMIT),
        Player("stock wheel", replace(PLAIN, python=stock), PAPERS),
        Player("papers' settings", replace(PAPER, python=mkl), PAPERS),
    ]
    precision = search_space.precision_here()
    return [
        *players,
        *([Player(f"ours in {precision}", chosen, precision=precision)] if precision != "float32" else []),
    ]


def _interleave(players: Sequence[Player], workload: Workload, rounds: int) -> dict[str, Measurement]:
    """Every player's steps; one whose process cannot go on says why."""
    with ExitStack() as stack:
        running = {}
        for player in players:
            own = replace(workload, precision=player.precision)
            process = stack.enter_context(BenchmarkProcess(player.profile, own, player.program))
            if process.start(monotonic() + 600):
                running[player.name] = process
        for measure in range(rounds):
            for process in list(running.values())[:: 1 if measure % 2 == 0 else -1]:
                process.measure(workload.batch_size, 0.0, monotonic() + 600)
        return {name: process.measured for name, process in running.items()}


def _scores(network: str, measured: dict[str, Measurement]) -> list[Score]:
    scores = []
    for name, ours in measured.items():
        if name.startswith("ours"):
            shown = f"{ours.rate:.2f}/s ({name.removeprefix('ours ').strip('()')})"
            kind = f"{network}-bfloat16" if "bfloat16" in name else network
            for label, player, goal in _references(network, name):
                theirs = measured[player].rate
                scores.append(Score(f"train.speed-{kind}-{label}", ours.rate / theirs, goal, shown, f"{theirs:.2f}/s"))
    return scores


def _references(network: str, name: str) -> tuple[tuple[str, str, float], ...]:
    """The label, player and goal of everything that one of ours is compared with."""
    if "bfloat16" in name:
        return ("stock", "stock wheel", STOCK_GOAL), ("paper", "papers' settings", PAPER_GOAL)
    return (("limit", "limit", LIMIT_GOALS[network]),)
