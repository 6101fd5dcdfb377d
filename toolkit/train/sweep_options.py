"""Options of a sweep from the command line; they do not affect results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from toolkit.errors import Problem, UsageError

ExecutorName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """Options of a sweep: executor, parallel trials, compute profile, tracking."""

    executor: ExecutorName = "local"
    address: str | None = None
    """The Ray cluster's; unset: RAY_ADDRESS, or a cluster of this machine alone, for as long as it is needed."""
    profile: str | None = None
    """Under which profile each process trains; unset: the one tuned for its network on its machine."""
    jobs: int | None = None
    """How many trials at once on this machine; unset: as many as memory and CPUs allow."""
    workers: int = 1
    """How many processes of a Ray cluster train each trial together, on shares of every batch."""
    track: bool | None = None
    """Whether to report to MLflow; None: only if MLFLOW_TRACKING_URI is set."""
    tune_s: float = 0.0
    """For how long at most each network is measured first that has no profile on this machine; Ray's nodes do not."""


def parse_sweep_options(
    executor: str,
    *,
    address: str | None,
    profile: str | None,
    jobs: int | None,
    track: bool | None,
    workers: int = 1,
    tune_s: float = 0.0,
) -> SweepOptions:
    """Return the options of a sweep from command-line options.

    Raises:
        UsageError: an unknown executor, or an option of the other one.
    """
    problems = []
    if executor not in {"local", "ray"}:
        problems.append(Problem(f"there is no executor {executor!r}", "--executor", "local or ray"))
    if address is not None and executor == "local":
        problems.append(Problem("is a Ray cluster's", "--address", "add --executor ray"))
    if jobs is not None and executor == "ray":
        problems.append(Problem("is for this machine alone", "--jobs", "leave it out: Ray knows what its nodes have"))
    if workers > 1 and executor == "local":
        problems.append(Problem("needs a Ray cluster", "--workers", "add --executor ray"))
    if problems:
        raise UsageError.from_problems(problems)
    return SweepOptions(
        executor=cast("ExecutorName", executor),
        address=address,
        profile=profile,
        jobs=jobs,
        workers=workers,
        track=track,
        tune_s=tune_s,
    )
