from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor import Check, Finding, Place, run_checks
from toolkit.doctor.finding import bad, good, warning
from toolkit.errors import MachineError
from toolkit.progress import Silent
from toolkit.workspace import Workspace


def place(tmp_path: Path) -> Place:
    return Place(Workspace(tmp_path), None, Silent())


def failing_until_fixed(file: Path) -> Check:
    def check(at: Place) -> Iterator[Finding]:
        yield good("it is there") if file.exists() else bad("it is missing", "make it")

    def fix(at: Place) -> str:
        file.touch()
        return "it was made"

    return Check("file", "tests", check, fix)


def test_run_checks_changes_nothing_without_fix(tmp_path: Path) -> None:
    (result,) = run_checks([failing_until_fixed(tmp_path / "x")], place(tmp_path))
    assert (result.state, result.fixable, result.fixed) == ("bad", True, "")
    assert not (tmp_path / "x").exists()


def test_run_checks_fixes_and_checks_again(tmp_path: Path) -> None:
    check = failing_until_fixed(tmp_path / "x")
    (result,) = run_checks([check], place(tmp_path), fix=True)
    assert (result.state, result.fixed) == ("good", "it was made")
    (again,) = run_checks([check], place(tmp_path), fix=True)
    assert (again.state, again.fixed) == ("good", "")


def test_run_checks_reports_a_failed_fix(tmp_path: Path) -> None:
    def check(at: Place) -> Iterator[Finding]:
        yield warning("it is missing", "fetch it")

    def fix(at: Place) -> str:
        raise MachineError("there is no network", remedy="plug it in")

    (result,) = run_checks([Check("a", "tests", check, fix)], place(tmp_path), fix=True)
    assert [(each.state, each.what) for each in result.findings] == [
        ("warning", "it is missing"),
        ("bad", "the fix failed: there is no network"),
    ]


def test_run_checks_continues_when_a_check_fails(tmp_path: Path) -> None:
    def check(at: Place) -> Iterator[Finding]:
        yield from ()
        raise ValueError("odd")

    def fine(at: Place) -> Iterator[Finding]:
        yield good("well")

    first, second = run_checks([Check("a", "tests", check), Check("b", "tests", fine)], place(tmp_path))
    assert (first.state, first.findings[0].what) == ("bad", "the check failed: ValueError: odd")
    assert second.state == "good"


def test_state_is_the_worst_of_the_findings(tmp_path: Path) -> None:
    def check(at: Place) -> Iterator[Finding]:
        yield from (good("a"), bad("b", "c"), warning("d", "e"))

    (result,) = run_checks([Check("a", "tests", check)], place(tmp_path))
    assert result.state == "bad"
