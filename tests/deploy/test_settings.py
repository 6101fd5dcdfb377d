from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from toolkit.deploy import gates_from_config, strategy_from_config
from toolkit.deploy.strategy import Size, Strategy
from toolkit.experiment.schema import DeployConfig
from toolkit.store import Store
from toolkit.workspace import Workspace


def test_strategy_from_config_reads_the_table() -> None:
    table = DeployConfig(batch="2,50%", groups=("attic",), pause_s=3, max_failures="10%", undo=False)
    assert strategy_from_config(table) == Strategy(
        batches=(Size(2), Size(50, percent=True)),
        groups=("attic",),
        pause_s=3,
        max_failures=Size(10, percent=True),
        undo=False,
    )
    assert strategy_from_config(DeployConfig()) == Strategy()


@pytest.mark.parametrize(
    "wrong",
    [{"batch": "0"}, {"batch": "1,"}, {"batch": "101%"}, {"max_failures": "-1"}, {"min_speed": 0}, {"healthy_s": -1}],
)
def test_the_table_refuses_what_no_rollout_can_do(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DeployConfig(**wrong)


def test_gates_from_config_leaves_out_what_is_not_asked_for(workspace: Workspace) -> None:
    with Store(workspace.database) as store:
        assert [gate.name for gate in gates_from_config(DeployConfig(), store)] == ["verify", "golden", "healthy"]
        table = DeployConfig(min_speed=0.5, healthy_s=0, hooks=Path("hooks"))
        assert [gate.name for gate in gates_from_config(table, store)] == ["verify", "golden", "speed"]
