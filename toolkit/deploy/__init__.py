"""A bundle onto a device, so that the old release or the new one serves whole, never neither."""

from toolkit.deploy.bundles import find_bundle
from toolkit.deploy.plan import DeployPlan
from toolkit.deploy.rollout import deploy, plan_rollout
from toolkit.deploy.serving import Serving, status
from toolkit.deploy.undo import rollback

__all__ = ["DeployPlan", "Serving", "deploy", "find_bundle", "plan_rollout", "rollback", "status"]
