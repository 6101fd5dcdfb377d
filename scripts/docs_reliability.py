# ruff: noqa: INP001 - run by its path
"""Generate docs/reliability.md from the tests marked `fault`; a test compares the file with them. `just docs-reliability`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
FILE = REPOSITORY / "docs" / "reliability.md"
SOAK = "<!-- begin soak -->"
TOP = """\
# What happens when things go wrong

Written by `just docs-reliability` from the tests marked `fault`; a test fails when this file is behind them. Each row is a
test on devices behind real SSH servers. It brings the fault about, then asserts three things:

1. every device serves the release named here, whole: all its bytes are right;
2. the report says what happened, and matches the pattern in the third column;
3. the next run, with nothing done but what the row says, ends with every device serving the new release.

"Old" is the release that was served before, "new" the one that was being rolled out. Power is cut there by ending every process
of a device at once; on a booted arm64 machine, whose disk loses what was not written, it is cut by
[tests of their own](architecture/04-provisioning.md#tests).

| what goes wrong | serves afterwards | the report says | test |
|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One test marked `fault`."""

    what: str
    serves: str
    reports: str
    test: str
    """Path and name in pytest's notation."""
    arguments: tuple[str, ...]
    tiers: tuple[str, ...]
    """Other markers of the test: what it needs to run."""


def faults(folder: Path = REPOSITORY / "tests") -> tuple[Fault, ...]:
    """Return every fault, sorted by file and line."""
    return tuple(fault for path in sorted(folder.rglob("test_*.py")) for fault in _faults_in(path))


def render() -> str:
    """Return the whole file."""
    return TOP + "".join(f"{_row(fault)}\n" for fault in faults()) + _soak()


def _soak() -> str:
    """Return the section that `just soak` writes, unchanged."""
    _, marker, section = FILE.read_text(encoding="utf-8").partition(SOAK)
    return f"\n{marker}{section}" if marker else ""


def _faults_in(path: Path) -> Iterator[Fault]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        marks = dict(_marks(function))
        if "fault" in marks:
            call = marks.pop("fault")
            values = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
            yield Fault(
                what=ast.literal_eval(call.args[0]),
                serves=values["serves"],
                reports=values["reports"],
                test=f"{path.relative_to(REPOSITORY)}::{function.name}",
                arguments=tuple(argument.arg for argument in function.args.args),
                tiers=tuple(name for name in marks if name not in {"parametrize", "slow", "timeout"}),
            )


def _marks(function: ast.FunctionDef) -> Iterator[tuple[str, ast.Call]]:
    """Return the decorators pytest.mark.NAME of a test, called or not."""
    for decorator in function.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else ast.Call(decorator, [], [])
        if ast.unparse(call.func).startswith("pytest.mark."):
            yield ast.unparse(call.func).removeprefix("pytest.mark."), call


def _row(fault: Fault) -> str:
    file, _, name = fault.test.partition("::")
    tiers = "".join(f"; `{tier}`" for tier in fault.tiers)
    test = f"[{name.removeprefix('test_').replace('_', ' ')}](../{file}){tiers}"
    return f"| {fault.what} | {fault.serves} | `{fault.reports.replace('|', chr(92) + '|')}` | {test} |"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
