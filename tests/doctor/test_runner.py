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


def sick_until_mended(file: Path) -> Check:
    def check(at: Place) -> Iterator[Finding]:
        yield good("it is there") if file.exists() else bad("it is missing", "make it")

    def fix(at: Place) -> str:
        file.touch()
        return "it was made"

    return Check("file", "tests", check, fix)


def test_examine_changes_nothing_unless_asked(tmp_path: Path) -> None:
    (found,) = run_checks([sick_until_mended(tmp_path / "x")], place(tmp_path))
    assert (found.state, found.fixable, found.fixed) == ("bad", True, "")
    assert not (tmp_path / "x").exists()


def test_examine_mends_and_looks_again_and_leaves_alone_what_is_good(tmp_path: Path) -> None:
    check = sick_until_mended(tmp_path / "x")
    (found,) = run_checks([check], place(tmp_path), fix=True)
    assert (found.state, found.fixed) == ("good", "it was made")
    (again,) = run_checks([check], place(tmp_path), fix=True)
    assert (again.state, again.fixed) == ("good", "")


def test_examine_tells_of_a_mending_that_failed(tmp_path: Path) -> None:
    def check(at: Place) -> Iterator[Finding]:
        yield warning("it is missing", "fetch it")

    def fix(at: Place) -> str:
        raise MachineError("there is no network", remedy="plug it in")

    (found,) = run_checks([Check("a", "tests", check, fix)], place(tmp_path), fix=True)
    assert [(each.state, each.what) for each in found.findings] == [
        ("warning", "it is missing"),
        ("bad", "mending it failed: there is no network"),
    ]


def test_examine_goes_on_when_a_check_itself_fails(tmp_path: Path) -> None:
    def check(at: Place) -> Iterator[Finding]:
        yield from ()
        raise ValueError("odd")

    def fine(at: Place) -> Iterator[Finding]:
        yield good("well")

    first, second = run_checks([Check("a", "tests", check), Check("b", "tests", fine)], place(tmp_path))
    assert (first.state, first.findings[0].what) == ("bad", "looking failed: ValueError: odd")
    assert second.state == "good"


def test_state_is_the_worst_of_the_findings(tmp_path: Path) -> None:
    def check(at: Place) -> Iterator[Finding]:
        yield from (good("a"), bad("b", "c"), warning("d", "e"))

    (found,) = run_checks([Check("a", "tests", check)], place(tmp_path))
    assert found.state == "bad"
