"""Executors, which run the trials of a sweep: processes on this machine, or a Ray cluster."""

from toolkit.train.executors.base import Executor, Listener
from toolkit.train.executors.local import LocalExecutor

__all__ = ["Executor", "Listener", "LocalExecutor"]
