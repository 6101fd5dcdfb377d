"""Commands, options, recipes, paths and tests that the documents name exist."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from toolkit.cli.main import app

CODE = re.compile(r"^```\w*\n(.*?)^```|(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)", re.MULTILINE | re.DOTALL)
TOP = "ansible docs images models requirements scripts tests toolkit"
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(TOP.split())})/[\w./{{}},*-]+")
RECIPE = re.compile(r"\bjust ([a-z][a-z0-9-]*)")
MADE = re.compile(r"ansible/inventory/fleet\.yml|images/runner")
"""Files that the reader creates."""


@pytest.fixture(scope="module")
def documents(tracked: tuple[Path, ...]) -> dict[Path, str]:
    pages = (path for path in tracked if path.suffix == ".md" and path.name != "CHANGELOG.md")
    return {path: path.read_text() for path in pages}


def snippets(text: str) -> Iterator[str]:
    for block, span in CODE.findall(text):
        yield from block.replace("\\\n", " ").splitlines() if block else [" ".join(span.split())]


@functools.cache
def top() -> Any:
    return typer.main.get_command(app)


def unknown_parts(line: str) -> list[str]:
    """Return the verbs and options of a `toolkit` command line that do not exist."""
    try:
        argv = shlex.split(line, comments=True)
    except ValueError:
        return []
    group = top()
    rest = iter(argv[argv.index("toolkit") + 1 :] if "toolkit" in argv else [])
    unknown = []
    for word in rest:
        if word in {"--", "|", "||", "&&", ">", ";"}:
            break
        if hasattr(group, "commands") and re.fullmatch(r"[a-z][\w-]*", word):
            if word not in group.commands:
                return [word]
            group = group.commands[word]
        elif word.startswith("--"):
            options = {name: option for option in group.params for name in (*option.opts, *option.secondary_opts)}
            option = options.get(word.partition("=")[0])
            unknown += [word] if option is None and word != "--help" else []
            if option is not None and "=" not in word and not option.is_flag:
                next(rest, None)
    return unknown


@pytest.mark.parametrize("line", ["toolkit trains x.toml", "toolkit fleet upp", "x && toolkit train x --jbos 2"])
def test_unknown_parts_names_what_does_not_exist(line: str) -> None:
    assert unknown_parts(line)


def test_commands_exist_when_a_document_names_them(documents: dict[Path, str]) -> None:
    unknown = {
        f"{path}: {line}": parts
        for path, text in documents.items()
        for line in snippets(text)
        if re.match(r"(?:\S+ && )?toolkit [a-z-]", line) and (parts := unknown_parts(line))
    }
    assert unknown == {}


def test_recipes_exist_when_a_document_names_them(repository: Path, documents: dict[Path, str]) -> None:
    just = Path(sys.executable).parent / "just"
    recipes = subprocess.run(
        [just, "--summary"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.split()
    named = {
        (str(path), name)
        for path, text in documents.items()
        for line in snippets(text)
        for name in RECIPE.findall(line)
    }
    assert ("lint" in recipes, {pair for pair in named if pair[1] not in recipes}) == (True, set())


def alternatives(path: str) -> list[str]:
    """Return the paths that one with braces stands for."""
    if match := re.search(r"\{([^{}]*)\}", path):
        return [way for part in match[1].split(",") for way in alternatives(path.replace(match[0], part))]
    return [path.rstrip(".,")]


def test_paths_exist_when_a_document_names_them(repository: Path, documents: dict[Path, str]) -> None:
    missing = {
        f"{page.relative_to(repository)}: {path}"
        for page, text in documents.items()
        for line in snippets(text)
        for written in PATH.findall(line)
        for path in alternatives(written)
        if not MADE.fullmatch(path) and "NAME" not in path and not any(repository.glob(path))
    }
    assert missing == set()


def test_overview_lists_every_package(repository: Path) -> None:
    text = (repository / "docs/architecture/00-overview.md").read_text()
    packages = {path.parent.name for path in (repository / "toolkit").glob("*/__init__.py")}
    assert packages - set(re.findall(r"^\| `toolkit/(\w+)/` \|", text, re.MULTILINE)) == set()
