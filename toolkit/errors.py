"""The exception tree and the exit-code table.

    ToolkitError                1   a device, an image or a check failed
    ├── UsageError              2   the command's words are off
    ├── ConfigurationError      3   a file the user wrote is off; holds every problem in it, not just the first
    ├── MachineError            4   this machine lacks something: a package, a weights file, room on the disk
    ├── DataError               1   images or labels that cannot be used
    ├── ConversionError         1   a model cannot be said in what a target's runtime knows
    ├── ParityError             1   two forms of one model disagree
    ├── BundleError             1   a bundle's bytes are not what its manifest says
    └── FleetError              1   devices failed; the others were still served
    KeyboardInterrupt         130   Ctrl-C; what was finished is kept

Every error says what is wrong, where (file, key, host) and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell sees."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    ENVIRONMENT = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `where` is a file, a key or a host; `remedy` is the next thing to do."""

    what: str
    where: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  → {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{advice}"


class ToolkitError(Exception):
    """The root of all errors that are the toolkit's to explain. Anything else that escapes is a bug."""

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, remedy),)
        super().__init__(str(self.problems[0]))

    @classmethod
    def from_problems(cls, problems: Sequence[Problem]) -> ToolkitError:
        """One error that reports all of them."""
        first, *_ = problems
        error = cls(first.what, where=first.where, remedy=first.remedy)
        error.problems = tuple(problems)
        error.args = ("\n".join(str(problem) for problem in problems),)
        return error


class UsageError(ToolkitError):
    """The command's words are off."""

    exit_code = ExitCode.USAGE


class ConfigurationError(ToolkitError):
    """A file the user wrote cannot be used as it stands."""

    exit_code = ExitCode.CONFIGURATION


class MachineError(ToolkitError):
    """This machine lacks something."""

    exit_code = ExitCode.ENVIRONMENT


class DataError(ToolkitError):
    """Images or labels that cannot be used."""


class ConversionError(ToolkitError):
    """A model cannot be said in the operations or numbers that a target's runtime knows."""


class ParityError(ToolkitError):
    """Two forms of one model disagree by more than the tolerance."""


class BundleError(ToolkitError):
    """A bundle's bytes are not what its manifest says."""


class FleetError(ToolkitError):
    """Devices failed; the others were still served."""
