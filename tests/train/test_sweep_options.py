from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.train import choose_way

UNSET = {"address": None, "profile": None, "jobs": None, "track": None}


def test_choose_way_names_every_word_that_is_off() -> None:
    with pytest.raises(UsageError) as caught:
        choose_way("local", **UNSET | {"address": "auto"})  # type: ignore[arg-type]
    assert [problem.where for problem in caught.value.problems] == ["--address"]
    with pytest.raises(UsageError) as caught:
        choose_way("ray", **UNSET | {"jobs": 2})  # type: ignore[arg-type]
    assert [problem.where for problem in caught.value.problems] == ["--jobs"]
    with pytest.raises(UsageError, match="no executor 'slurm'"):
        choose_way("slurm", **UNSET)  # type: ignore[arg-type]


def test_choose_way_is_local_and_untracked_by_itself_when_nothing_is_said() -> None:
    way = choose_way("local", **UNSET)  # type: ignore[arg-type]
    assert (way.executor, way.jobs, way.track) == ("local", None, None)
