"""Checks of this machine, one per module.

    toolkit doctor          run every check; each finding comes with the next thing to do
    toolkit doctor --fix    also do what is safe: add what is missing, change nothing that exists

To add one: a module of `checks/` with CHECK, and its name in the list below. Plugins add theirs after these.
"""

from importlib import import_module

from toolkit.doctor.finding import Check, Finding, Place, bad
from toolkit.doctor.runner import Diagnosis, run_checks
from toolkit.errors import ConfigurationError
from toolkit.system.plugins import load_plugin, plugin_names

__all__ = ["Check", "Diagnosis", "Finding", "Place", "all_checks", "run_checks"]

_MODULES = (
    "python",
    "packages",
    "disk",
    "clock",
    "workspace",
    "sandbox",
    "tensorflow",
    "weights",
    "ncs2_compiler",
    "legacy_openvino",
    "container_engine",
    "ansible",
    "inventory",
    "ssh_agent",
)
"""In the order in which their findings are best fixed."""


def all_checks() -> tuple[Check, ...]:
    """Return all checks; one whose packages are not installed reports that instead."""
    return (*map(_load, _MODULES), *map(_load_plugin, plugin_names("doctor_checks")))


def _load(name: str) -> Check:
    try:
        check: Check = import_module(f"toolkit.doctor.checks.{name}").CHECK
    except ModuleNotFoundError as error:
        missing = bad(f"not checked: the package {error.name} is missing", "pip install 'edge-vision-toolkit[all]'")
        return Check(name.replace("_", "-"), "", lambda _: iter((missing,)))
    return check


def _load_plugin(name: str) -> Check:
    try:
        check: Check = load_plugin("doctor_checks", name, Check)
    except ConfigurationError as error:
        (problem,) = error.problems
        broken = bad(f"{problem.where}: {problem.what}", problem.remedy)
        return Check(name, "", lambda _: iter((broken,)))
    return check
