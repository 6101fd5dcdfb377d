"""Deployment of bundles to devices, each of which always serves a complete release, the old or the new one."""

from toolkit.deploy.gates.gate import REQUIRED_GATES, Gate, HealthGate
from toolkit.deploy.gates.speed_gate import SpeedGate, load_baselines
from toolkit.deploy.plan import DeployPlan
from toolkit.deploy.rollback import plan_rollback, rollback
from toolkit.deploy.rollout import deploy, gates_from_config, plan_rollout, shadow_from_config, strategy_from_config
from toolkit.deploy.rollout_log import RolloutResult
from toolkit.deploy.status import DeviceStatus, status
from toolkit.deploy.strategy import Strategy

__all__ = [
    "REQUIRED_GATES",
    "DeployPlan",
    "DeviceStatus",
    "Gate",
    "HealthGate",
    "RolloutResult",
    "SpeedGate",
    "Strategy",
    "deploy",
    "gates_from_config",
    "load_baselines",
    "plan_rollback",
    "plan_rollout",
    "rollback",
    "shadow_from_config",
    "status",
    "strategy_from_config",
]
