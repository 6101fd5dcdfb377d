"""Intel's compiler for the NCS2, which checks whether a model fits the device."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.convert.runtimes import ncs2_compiler
from toolkit.doctor.finding import Check, Finding, Place, bad, good, warning
from toolkit.errors import MachineError


def check(place: Place) -> Iterator[Finding]:
    """Check that it is unpacked and unchanged; runs nothing."""
    del place
    folder = ncs2_compiler.folder()
    if not folder.is_dir():
        yield warning("not downloaded yet; `toolkit check` downloads it when first needed", "toolkit doctor --fix")
        return
    try:
        ncs2_compiler.check_unchanged(folder)
    except MachineError as error:
        yield from (bad(f"{problem.where} {problem.what}", problem.remedy) for problem in error.problems)
        return
    yield good(f"myriad_compile, unchanged, in {folder}")


def fix(place: Place) -> str:
    """Download and unpack it."""
    return f"unpacked: {ncs2_compiler.find_compiler(place.progress)}"


CHECK = Check("ncs2-compiler", "models for the NCS2", check, fix)
