"""From what a user writes, in an experiment file or as options, to how a rollout goes."""

from __future__ import annotations

from toolkit.deploy.gates.gate import ALWAYS, Gate, Healthy
from toolkit.deploy.gates.speed_gate import Speed, yardsticks
from toolkit.deploy.strategy import Size, Strategy, parse_sizes
from toolkit.experiment.schema import DeployConfig
from toolkit.store import Store


def strategy_of(table: DeployConfig) -> Strategy:
    """In which order, and when it stops.

    Raises:
        UsageError: a size is none.
    """
    return Strategy(
        batches=parse_sizes(table.batch) if table.batch else None,
        groups=table.groups,
        pause_s=table.pause_s,
        max_failures=Size.parse(table.max_failures),
        undo=table.undo,
    )


def gates_of(table: DeployConfig, store: Store) -> tuple[Gate, ...]:
    """What a release must pass on each device; the speeds that were measured are in `store`."""
    speed = [Speed(table.min_speed, yardsticks(store))] if table.min_speed else []
    healthy = [Healthy(table.healthy_s)] if table.healthy_s else []
    return (*ALWAYS, *speed, *healthy)
