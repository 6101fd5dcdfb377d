"""The confinement of the processes that read untrusted data sets and models."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning
from toolkit.errors import MachineError


def check(place: Place) -> Iterator[Finding]:
    """Start a confined process, and report which layers hold."""
    del place
    from toolkit.system.sandbox import confinement

    try:
        layers = confinement()
    except MachineError as error:
        (problem, *_) = error.problems
        yield bad(problem.what, problem.remedy)
        return
    if layers.sufficient:
        yield good(str(layers))
    else:
        yield warning(f"only {layers}", "unset TOOLKIT_UNCONFINED to refuse files from outside on this machine")


CHECK = Check("sandbox", "data sets and models from outside", check)
