from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.train import parse_sweep_options

UNSET = {"address": None, "profile": None, "jobs": None, "track": None}


def test_choose_way_names_every_word_that_is_off() -> None:
    with pytest.raises(UsageError) as caught:
        parse_sweep_options("local", **UNSET | {"address": "auto"})  # type: ignore[arg-type]
    assert [problem.where for problem in caught.value.problems] == ["--address"]
    with pytest.raises(UsageError) as caught:
        parse_sweep_options("ray", **UNSET | {"jobs": 2})  # type: ignore[arg-type]
    assert [problem.where for problem in caught.value.problems] == ["--jobs"]
    with pytest.raises(UsageError) as caught:
        parse_sweep_options("local", **UNSET, workers=2)  # type: ignore[arg-type]
    assert [problem.where for problem in caught.value.problems] == ["--workers"]
    with pytest.raises(UsageError, match="no executor 'slurm'"):
        parse_sweep_options("slurm", **UNSET)  # type: ignore[arg-type]


def test_sweep_options_are_local_and_untracked_when_unset() -> None:
    sweep_options = parse_sweep_options("local", **UNSET)  # type: ignore[arg-type]
    assert (sweep_options.executor, sweep_options.jobs, sweep_options.track) == ("local", None, None)
