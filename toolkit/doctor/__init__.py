"""What is wrong on this machine, and how to mend it: one check per file.

    toolkit doctor          look: every check, each finding with the next thing to do
    toolkit doctor --fix    and do what is safe: add what is missing, change nothing that is there

To add one: a module with CHECK, and its name in the list below.
"""

from toolkit.doctor.examining import Diagnosis, examine
from toolkit.doctor.finding import Check, Finding, Place

__all__ = ["Check", "Diagnosis", "Finding", "Place", "checks", "examine"]


def checks() -> tuple[Check, ...]:
    """All of them, in the order in which their findings are best mended."""
    from toolkit.doctor import (
        ansible,
        clock,
        disk,
        engine,
        eras,
        inventory,
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
        eras,
        engine,
        ansible,
        inventory,
        ssh_agent,
    )
    return tuple(module.CHECK for module in modules)
