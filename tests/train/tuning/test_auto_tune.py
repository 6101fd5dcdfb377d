"""What is measured before a first training, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.experiment import compute_profiles
from toolkit.experiment.compute_profiles import ComputeProfile
from toolkit.progress import Silent
from toolkit.train.tuning.auto_tune import missing_profiles, tune_missing_profiles
from toolkit.train.tuning.search_space import interpreter_candidates

BROKEN = ComputeProfile(name="broken", environment={"PYTHONHOME": "/nowhere"})


def test_missing_profiles_name_each_network_once(sweep: Any) -> None:
    requests = sweep.requests() * 2
    assert [one.trial.network for one in missing_profiles(requests)] == ["one", "two"]
    compute_profiles.save_profile(ComputeProfile(name="one"), {}, sweep.workspace)
    assert [one.trial.network for one in missing_profiles(requests)] == ["two"]


@pytest.mark.slow
def test_tune_missing_profiles_saves_them_for_the_next_training(sweep: Any) -> None:
    first, again, requests = Silent(), Silent(), sweep.requests()[:1]
    tune_missing_profiles(requests, 120, first, [ComputeProfile(name="one thread", intra_op=1)])
    assert compute_profiles.select_profile(None, "one", sweep.workspace).intra_op == 1
    assert "measuring for 120 s at most (--tune 0: never)" in first.messages[0]
    tune_missing_profiles(requests, 120, again, [BROKEN])
    assert not again.messages


def test_tune_missing_profiles_lets_training_begin_on_failure(sweep: Any) -> None:
    progress = Silent()
    tune_missing_profiles(sweep.requests()[:1], 30, progress, [BROKEN])
    assert "trained without a profile" in progress.messages[-1]
    assert compute_profiles.select_profile(None, "one", sweep.workspace) == compute_profiles.PLAIN


def test_own_candidates_are_of_this_interpreter() -> None:
    assert {profile.python for profile in interpreter_candidates()} == {None}
