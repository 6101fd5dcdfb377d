"""Executors, which run the trials of a sweep: processes on this machine, or a Ray cluster."""

from toolkit.train.executors.base import Executor, TrialListener
from toolkit.train.executors.local import LocalExecutor

__all__ = ["Executor", "LocalExecutor", "TrialListener"]
