"""What runs on a node of a Ray cluster: a training process whose events go to the driver."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from typing import Any

from toolkit.errors import Problem
from toolkit.experiment import compute_profiles
from toolkit.train.executors.events import Done, Failed, TrainRequest, write
from toolkit.train.executors.process import TrainingProcess
from toolkit.train.executors.ray_nodes import node_name, unshared


class TrialDied(Exception):  # noqa: N818 - what happened
    """The training process ended before its trial did; the argument is a Failed as a line."""


def train_on_node(text: str, place: int, cpus: float, profile: str | None, mark: str, mailbox: Any) -> bytes:
    """The task: start a training process here, pass its events on, give its outcome as a line.

    `mailbox` is None for all replicas of a trial but the first.

    Raises:
        TrialDied: the process ended in the middle; Ray begins the trial again.
    """
    import ray

    request, attempt = TrainRequest.from_json(text), secrets.token_hex(8)
    node = node_name()
    if problems := unshared(request, mark, node):
        raise TrialDied(write(Failed("MachineError", problems)))
    sent = mailbox and mailbox.put.remote(place, attempt, node, [])
    chosen = compute_profiles.select_profile(profile, request.trial.network, request.workspace)
    if request.place and chosen.python is not None:
        if profile:
            what = f"the profile {profile!r} has an interpreter of its own, which several workers cannot train with"
            return write(Failed("UsageError", (Problem(what, "--profile", "leave it out, or train with one worker"),)))
        chosen = replace(chosen, python=None)  # replicas on all nodes need the same build of TensorFlow
    process = TrainingProcess(chosen, {"TF_NUM_INTRAOP_THREADS": str(max(1, int(cpus))), **os.environ})
    try:
        process.give(request)
        while (events := process.read_events()) is not None:
            outcomes = [event for event in events if isinstance(event, Done | Failed)]
            if mailbox and (lines := [write(event) for event in events if not isinstance(event, Done | Failed)]):
                sent = mailbox.put.remote(place, attempt, node, lines)
            if outcomes:
                if mailbox:
                    ray.get(sent)  # whatever was sent before it has come too
                return write(outcomes[0])
        raise TrialDied(write(process.death(f"{request.trial.name} on {node}")))
    finally:
        process.stop()
