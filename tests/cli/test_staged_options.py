"""The options of a staged rollout: which table they make, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.cli.main import main
from toolkit.cli.staged_options import parse_staged
from toolkit.deploy.registry.stages import ENOUGH, StagedOptions
from toolkit.deploy.strategy import BatchSize, Strategy, parse_sizes
from toolkit.errors import ConfigurationError, UsageError

EXPERIMENT = """name = "masks"
[data]
source = "synthetic-masks"
[deploy]
batch = "1%,100%"
groups = ["kitchen"]
pause_s = 60
max_failures = "2"
min_deployed = "50%"
windows = ["mon-fri 22:00-05:00"]
"""


def parse(
    batch: str | None = None, strategy: Path | None = None, *, signed: bool = True, **options: Any
) -> StagedOptions | None:
    names = ("groups", "pause", "max_failures", "min_deployed", "windows")
    return parse_staged(batch, *(options.get(name) for name in names), strategy, signed=signed)


def test_publish_is_not_staged_without_options() -> None:
    assert parse() is None
    assert parse(signed=False) is None


def test_options_mean_what_they_mean_over_ssh() -> None:
    expected = Strategy(batches=parse_sizes("1%,100%"), groups=("kitchen",), pause_s=5, max_failures=BatchSize(3))
    staged = parse("1%,100%", groups=["kitchen"], pause=5.0, max_failures="3")
    assert staged == StagedOptions(strategy=expected, min_deployed=ENOUGH)
    assert parse(windows=["22:00-05:00"]) == StagedOptions(
        strategy=Strategy(batches=parse_sizes("100%")), windows=("22:00-05:00",)
    )
    groups = parse(groups=["kitchen"])
    assert groups is not None
    assert groups.strategy.batches is None, "each group at once, as over SSH"


def test_experiment_has_the_strategy_and_options_override_it(tmp_path: Path) -> None:
    file = tmp_path / "masks.toml"
    file.write_text(EXPERIMENT)
    staged = parse("5%,100%", file, min_deployed="3")
    assert staged == StagedOptions(
        strategy=Strategy(batches=parse_sizes("5%,100%"), groups=("kitchen",), pause_s=60, max_failures=BatchSize(2)),
        min_deployed=BatchSize(3),
        windows=("mon-fri 22:00-05:00",),
    )
    file.write_text(EXPERIMENT.replace("22:00-05:00", "22-05"))
    with pytest.raises(ConfigurationError, match="'mon-fri 22-05' is not a maintenance window"):
        parse(None, file)


@pytest.mark.parametrize(
    ("options", "problem", "where"),
    [
        ({"batch": "1%", "signed": False}, "has no statement", "--batch"),
        ({"batch": "many"}, "'many' is not a number of devices", ""),
        ({"batch": "0,100%"}, "has an empty batch", ""),
        ({"batch": "1%", "max_failures": "x"}, "'x' is not a number of devices", ""),
        ({"batch": "1%", "min_deployed": "101%"}, "'101%' is not a number of devices", ""),
        ({"batch": "1%", "windows": ["22:00"]}, "'22:00' is not a maintenance window", "--window"),
        ({"batch": "1%", "windows": ["22:00-05:00"] * 64}, "64 are too many", "--window"),
        ({"groups": ["a b"]}, "'a b' is not a label", "--group"),
        ({"max_failures": "2"}, "there are no batches", "--max-failures"),
        ({"pause": 2.0}, "there are no batches", "--pause"),
    ],
)
def test_options_are_refused_by_name(options: dict[str, Any], problem: str, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(**options)
    (only,) = caught.value.problems
    assert problem in only.what
    assert only.where == where
    assert only.remedy


def test_wait_without_batches_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["publish", "x", "host/name:tag", "--wait", "1h", "--workspace", str(tmp_path)])
    assert caught.value.code == 2
    assert "there is no rollout to wait for" in capsys.readouterr().err
