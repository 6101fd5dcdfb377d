"""A bundle onto devices, so that the old release or the new one serves whole, never neither."""

from toolkit.deploy.gates.gate import ALWAYS, Gate, Healthy
from toolkit.deploy.gates.speed_gate import Speed, yardsticks
from toolkit.deploy.plan import DeployPlan
from toolkit.deploy.rollback import plan_rollback, rollback
from toolkit.deploy.rollout import deploy, plan_rollout
from toolkit.deploy.rollout_log import RolloutResult
from toolkit.deploy.settings import gates_of, strategy_of
from toolkit.deploy.status import Serving, status
from toolkit.deploy.strategy import Strategy

__all__ = [
    "ALWAYS",
    "DeployPlan",
    "Gate",
    "Healthy",
    "RolloutResult",
    "Serving",
    "Speed",
    "Strategy",
    "deploy",
    "gates_of",
    "plan_rollback",
    "plan_rollout",
    "rollback",
    "status",
    "strategy_of",
    "yardsticks",
]
