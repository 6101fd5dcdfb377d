"""Run checks, fix what can be fixed, and run those again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.doctor.finding import Check, Finding, Place, State, bad
from toolkit.errors import ToolkitError
from toolkit.system.environment_errors import to_machine_error

ORDER: tuple[State, ...] = ("bad", "warning", "good")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings of one check; `fixed` says what was done about them."""

    name: str
    about: str
    findings: tuple[Finding, ...]
    fixable: bool
    fixed: str = ""

    @property
    def state(self) -> State:
        """The worst state of the findings."""
        return min((finding.state for finding in self.findings), key=ORDER.index, default="good")


def run_checks(checks: Sequence[Check], place: Place, *, fix: bool = False) -> tuple[Diagnosis, ...]:
    """Return one diagnosis per check, in order; with `fix`, apply the fixes that are available."""
    return tuple(_diagnose(check, place, fix=fix) for check in checks)


def _diagnose(check: Check, place: Place, *, fix: bool) -> Diagnosis:
    before = Diagnosis(check.name, check.about, _findings(check, place), check.fix is not None)
    if not fix or check.fix is None or before.state == "good":
        return before
    try:
        fixed = check.fix(place)
    except (ToolkitError, OSError) as error:
        return Diagnosis(check.name, check.about, (*before.findings, _failure("the fix", error)), fixable=True)
    return Diagnosis(check.name, check.about, _findings(check, place), fixable=True, fixed=fixed)


def _findings(check: Check, place: Place) -> tuple[Finding, ...]:
    try:
        return tuple(check.check(place))
    except Exception as error:  # noqa: BLE001 - a bug in one check must not hide the findings of the others
        return (_failure("the check", error),)


def _failure(what: str, error: Exception) -> Finding:
    explained = error if isinstance(error, ToolkitError) else to_machine_error(error)
    if explained is None:
        return bad(f"{what} failed: {type(error).__name__}: {error}", "run it with `toolkit -vv` to see where")
    (problem, *_) = explained.problems
    return bad(f"{what} failed: {f'{problem.where}: ' if problem.where else ''}{problem.what}", problem.remedy)
