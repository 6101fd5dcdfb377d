"""The names of a device's files and folders are written once, in toolkit/device/layout.py."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

NAMES = re.compile(
    r"(?<![\w.-])\.?((deploy|rollout|bench|incoming)\.lock|audit\.jsonl|state\.json|floors(\.copy)?\.json"
    r"|(manifest|release)\.json(\.sig)?|container-images|/opt/toolkit)(?![\w-])"
)
FOLDERS = "releases|current|previous|store|images|incoming|container-image"
AS_PATH = re.compile(rf"(^(?!images)|[/}}])({FOLDERS})/|/({FOLDERS})($|[\"'\s;)*])")
ALONE = re.compile(FOLDERS)
PATHS = {"Path", "joinpath", "glob", "with_name"}
ELSEWHERE = {
    "toolkit/device/layout.py": re.compile(""),
    "toolkit/device/probe.py": re.compile("manifest.json|/opt/toolkit|/run/toolkit-runner/state.json"),
    "toolkit/fleet/container_images/local.py": re.compile("manifest.json"),
}
"""The module itself; its copy in the probe (tests/device/test_layout.py compares them), and the live app's own file; the index of a `docker save` archive."""


def strings(source: str) -> Iterator[tuple[int, str, bool]]:
    """Yield the line, the text, and whether it is part of a path, of each string that is not a docstring."""
    tree = ast.parse(source)
    bodies = [
        node.body
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    docs = {id(line.value) for body in bodies for line in body if isinstance(line, ast.Expr)}
    paths: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            paths |= {id(node.left), id(node.right)}
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in PATHS:
            paths |= {id(argument) for argument in node.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value, id(node) in paths


def typed(source: str) -> list[str]:
    """Return the names of the layout that are typed in a module."""
    return [
        f"{line}: {text.strip()[:60]}"
        for line, text, in_path in strings(source)
        if NAMES.search(text) or AS_PATH.search(text) or (in_path and ALONE.fullmatch(text))
    ]


@pytest.mark.parametrize(
    "source",
    [
        'path = root / "releases"',
        'path = Path(root, "current")',
        'path = f"{root}/previous/{name}"',
        "SCRIPT = '[ -d \"$root/store\" ]'",
        'lock = root / "bench.lock"',
        'root = "/opt/toolkit"',
    ],
)
def test_a_typed_name_is_noticed(source: str) -> None:
    assert typed(source)


@pytest.mark.parametrize(
    "source", ['facts["current"]', '"""Writes ROOT/releases/<digest>."""', "import x.store", '"in store"']
)
def test_other_uses_of_the_words_are_not(source: str) -> None:
    assert typed(source) == []


def test_layout_is_written_once(repository: Path, tracked: tuple[Path, ...]) -> None:
    modules = [path for path in tracked if path.suffix == ".py" and repository / "toolkit" in path.parents]
    places = {str(path.relative_to(repository)): typed(path.read_text()) for path in modules}
    left = {path: [line for line in lines if not allowed(path, line)] for path, lines in places.items()}
    assert {path: lines for path, lines in left.items() if lines} == {}


def allowed(path: str, line: str) -> bool:
    return path in ELSEWHERE and bool(ELSEWHERE[path].search(line))
