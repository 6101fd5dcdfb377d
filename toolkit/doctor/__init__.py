"""What is wrong on this machine, and how to mend it: one check per file.

    toolkit doctor          look: every check, each finding with the next thing to do
    toolkit doctor --fix    and do what is safe: add what is missing, change nothing that is there

To add one: a module with CHECK, and its name in the list below.
"""

from toolkit.doctor.finding import Check, Finding, Place
from toolkit.doctor.runner import Diagnosis, examine

__all__ = ["Check", "Diagnosis", "Finding", "Place", "checks", "examine"]


def checks() -> tuple[Check, ...]:
    """All of them, in the order in which their findings are best mended."""
    from toolkit.doctor import (
        ansible,
        clock,
        container_engine,
        disk,
        inventory,
        legacy_openvino,
        ncs2_compiler,
        packages,
        python,
        ssh_agent,
        tensorflow,
        weights,
        workspace,
    )

    modules = (
        python,
        packages,
        disk,
        clock,
        workspace,
        tensorflow,
        weights,
        ncs2_compiler,
        legacy_openvino,
        container_engine,
        ansible,
        inventory,
        ssh_agent,
    )
    return tuple(module.CHECK for module in modules)
