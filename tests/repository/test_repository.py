"""The rules of this repository that no linter knows."""

from __future__ import annotations

import ast
import re
import threading
from pathlib import Path
from urllib.parse import unquote

# Spelled with brackets, so that this file does not break the rule it holds.
REGISTRIES = re.compile(r"pypi[.]org|python[h]osted|(deb|security|snapshot)[.]debian[.]org|registry[.]npm[j]s")
OUTSIDE = re.compile(r"[.][.]/shared|/work/(shared|main)")
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc"}
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|<(?:img|source)[^>]*\bsrc(?:set)?=\"([^\"]+)\"")


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data[:8000] else data.decode()


def test_files_name_no_package_registry_and_nothing_outside(tracked: tuple[Path, ...]) -> None:
    result = [str(path) for path in tracked if REGISTRIES.search(text := text_of(path)) or OUTSIDE.search(text)]
    assert result == []


def test_modules_say_what_they_hold(tracked: tuple[Path, ...]) -> None:
    assert [str(path) for path in tracked if path.suffix == ".py" and path.stem in VAGUE] == []


def test_files_are_small_and_texts(tracked: tuple[Path, ...], repository: Path) -> None:
    images = repository / "docs/images"
    assert [str(path) for path in tracked if b"\0" in path.read_bytes()[:8000] and images not in path.parents] == []
    assert [str(path) for path in tracked if path.stat().st_size > 1_000_000] == []


def test_links_lead_somewhere_when_they_are_relative(tracked: tuple[Path, ...]) -> None:
    dead = []
    for page in (path for path in tracked if path.suffix == ".md"):
        targets = [first or second for first, second in LINK.findall(page.read_text())]
        local = [unquote(target) for target in targets if "://" not in target and not target.startswith("mailto:")]
        dead += [f"{page}: {target}" for target in local if not (page.parent / target).exists()]
    assert dead == []


def test_threads_keep_their_own_names_apart_from_pythons(tracked: tuple[Path, ...]) -> None:
    """An attribute of threading.Thread that a subclass takes for itself is set by both: `start` sets `_started`."""
    taken = {name for name in vars(threading.Thread()) if name not in {"name", "daemon"}}
    result = []
    for path in (path for path in tracked if path.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Thread") for base in node.bases):
                own = {name.attr for name in ast.walk(node) if isinstance(name, ast.Attribute) and _is_set(name)}
                result += [f"{path}: {node.name}.{name}" for name in own & taken]
    assert result == []


def _is_set(name: ast.Attribute) -> bool:
    return isinstance(name.ctx, ast.Store) and isinstance(name.value, ast.Name) and name.value.id == "self"


def test_decisions_are_numbered_without_gaps(repository: Path) -> None:
    decisions = sorted((repository / "docs/adr").glob("[0-9]*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = path.read_text()
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], path
