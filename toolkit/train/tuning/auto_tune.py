"""Tune networks that have no profile on this machine before training (`--tune`).

The profile is saved in the workspace and used by later trainings.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import MachineError
from toolkit.experiment import compute_profiles
from toolkit.experiment.compute_profiles import ComputeProfile
from toolkit.progress import Progress
from toolkit.train.executors.events import TrainRequest
from toolkit.train.tuning import search
from toolkit.train.tuning.search_space import interpreter_candidates
from toolkit.train.tuning.worker import workload_for_trial


def tune_missing_profiles(
    requests: Sequence[TrainRequest], limit_s: float, progress: Progress, tried: Sequence[ComputeProfile] | None = None
) -> None:
    """Tune each network of `requests` that has no profile here, for `limit_s` each at most.

    A network that cannot be tuned in that time is trained without a profile and tuned again at the next start. `tried`
    defaults to the candidates of this interpreter; another TensorFlow build would be another run.
    """
    for request in missing_profiles(requests):
        network = request.trial.network
        progress.log(
            f"{network}: no profile on this machine yet; measuring for {limit_s:.0f} s at most (--tune 0: never)"
        )
        try:
            workload = workload_for_trial(request.experiment, request.trial)
            tuned = search.tune(workload, tried or interpreter_candidates(), progress, limit_s=limit_s)
        except MachineError as error:
            progress.log(f"{network}: trained without a profile: {error}")
            continue
        profile = tuned.profile(network)
        path = compute_profiles.save_profile(profile, tuned.to_json(), request.workspace)
        progress.log(f"{network}: {tuned.chosen.profile.name} is the fastest, saved in {path}")


def missing_profiles(requests: Sequence[TrainRequest]) -> list[TrainRequest]:
    """Return the first request of each network without a profile."""
    first: dict[str, TrainRequest] = {}
    for one in requests:
        first.setdefault(one.trial.network, one)
    return [one for name, one in first.items() if not compute_profiles.profile_path(name, one.workspace).exists()]
