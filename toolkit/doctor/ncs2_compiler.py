"""Intel's compiler for the Neural Compute Stick 2, which says whether a model fits one."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.convert.runtimes import ncs2_compiler
from toolkit.doctor.finding import Check, Finding, Place, bad, care, good
from toolkit.errors import MachineError


def look(place: Place) -> Iterator[Finding]:
    """Whether it is unpacked and unchanged to the byte; runs nothing."""
    del place
    folder = ncs2_compiler.folder()
    if not folder.is_dir():
        yield care("not here yet: fetched when `toolkit check` first needs it", "toolkit doctor --fix")
        return
    try:
        ncs2_compiler.check_unchanged(folder)
    except MachineError as error:
        yield from (bad(f"{problem.where} {problem.what}", problem.remedy) for problem in error.problems)
        return
    yield good(f"myriad_compile, unchanged to the byte, in {folder}")


def mend(place: Place) -> str:
    """Fetch and unpack it."""
    return f"unpacked: {ncs2_compiler.find_compiler(place.progress)}"


CHECK = Check("ncs2-compiler", "models for a stick", look, mend)
