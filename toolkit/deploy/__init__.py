"""A bundle onto devices, so that the old release or the new one serves whole, never neither."""

from toolkit.deploy.bundles import find_bundle
from toolkit.deploy.gates import ALWAYS, Gate, Healthy
from toolkit.deploy.journal import RolloutResult
from toolkit.deploy.plan import DeployPlan
from toolkit.deploy.rollout import deploy, plan_rollout
from toolkit.deploy.serving import Serving, status
from toolkit.deploy.settings import gates_of, strategy_of
from toolkit.deploy.speed import Speed, yardsticks
from toolkit.deploy.strategy import Strategy
from toolkit.deploy.undo import plan_rollback, rollback

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
    "find_bundle",
    "gates_of",
    "plan_rollback",
    "plan_rollout",
    "rollback",
    "status",
    "strategy_of",
    "yardsticks",
]
