"""The exception tree and the exit codes.

    ToolkitError                1   a device, an image or a check failed
    ├── UsageError              2   the command line is wrong
    ├── ConfigurationError      3   a file that the user wrote is wrong; reports every problem in it
    ├── MachineError            4   this machine lacks something: a package, a weights file, disk space
    ├── DataError               1   images or labels cannot be used
    ├── ConversionError         1   a model cannot be converted for its target
    ├── ParityError             1   two variants of a model disagree
    ├── BundleError             1   a bundle's bytes differ from its manifest
    └── FleetError              1   devices failed; the others were served
    KeyboardInterrupt         130   Ctrl-C; finished work is kept

Every error states the problem, the place (file, key, host) and the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    ENVIRONMENT = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: `where` is a file, a key or a host; `remedy` is the next thing to do."""

    what: str
    where: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        prefix = f"{self.where}: " if self.where else ""
        suffix = f"\n  → {self.remedy}" if self.remedy else ""
        return f"{prefix}{self.what}{suffix}"


class ToolkitError(Exception):
    """The base of all errors that the toolkit explains; any other exception that escapes is a bug."""

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, remedy),)
        super().__init__(str(self.problems[0]))

    @classmethod
    def from_problems(cls, problems: Sequence[Problem]) -> ToolkitError:
        """Return one error that reports all `problems`."""
        first, *_ = problems
        error = cls(first.what, where=first.where, remedy=first.remedy)
        error.problems = tuple(problems)
        error.args = ("\n".join(str(problem) for problem in problems),)
        return error


class UsageError(ToolkitError):
    """The command line is wrong."""

    exit_code = ExitCode.USAGE


class ConfigurationError(ToolkitError):
    """A file that the user wrote is wrong."""

    exit_code = ExitCode.CONFIGURATION


class MachineError(ToolkitError):
    """This machine lacks something, or its environment fails."""

    exit_code = ExitCode.ENVIRONMENT


class DataError(ToolkitError):
    """Images or labels cannot be used."""


class ConversionError(ToolkitError):
    """A model cannot be expressed in the operations or number formats of its target."""


class ParityError(ToolkitError):
    """Two variants of a model disagree by more than the tolerance."""


class BundleError(ToolkitError):
    """A bundle's bytes differ from its manifest."""


class FleetError(ToolkitError):
    """Devices failed; the others were served."""
