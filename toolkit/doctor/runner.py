"""Ask every check, mend what may be mended, and ask those again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.doctor.finding import Check, Finding, Place, State, bad
from toolkit.errors import ToolkitError

ORDER: tuple[State, ...] = ("bad", "care", "good")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one check found; `mended` says what was done about it, if anything."""

    name: str
    about: str
    findings: tuple[Finding, ...]
    fixable: bool
    mended: str = ""

    @property
    def state(self) -> State:
        """The worst of its findings."""
        return min((finding.state for finding in self.findings), key=ORDER.index, default="good")


def examine(checks: Sequence[Check], place: Place, *, fix: bool = False) -> tuple[Diagnosis, ...]:
    """One diagnosis per check, in their order; with `fix` what is not good and can be mended is."""
    return tuple(_examined(check, place, fix=fix) for check in checks)


def _examined(check: Check, place: Place, *, fix: bool) -> Diagnosis:
    seen = Diagnosis(check.name, check.about, _looked(check, place), check.mend is not None)
    if not fix or check.mend is None or seen.state == "good":
        return seen
    try:
        mended = check.mend(place)
    except (ToolkitError, OSError) as error:
        return Diagnosis(check.name, check.about, (*seen.findings, _failed("mending it", error)), fixable=True)
    return Diagnosis(check.name, check.about, _looked(check, place), fixable=True, mended=mended)


def _looked(check: Check, place: Place) -> tuple[Finding, ...]:
    try:
        return tuple(check.look(place))
    except Exception as error:  # noqa: BLE001 - one check's bug must not hide what the others found
        return (_failed("looking", error),)


def _failed(doing: str, error: Exception) -> Finding:
    if isinstance(error, ToolkitError):
        (problem, *_) = error.problems
        return bad(f"{doing} failed: {problem.what}", problem.remedy)
    return bad(f"{doing} failed: {type(error).__name__}: {error}", "run with TOOLKIT_DEBUG=1 for where it happened")
