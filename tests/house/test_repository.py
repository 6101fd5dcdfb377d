"""The rules of the house that no linter knows."""

from __future__ import annotations

import re
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
    found = [str(path) for path in tracked if REGISTRIES.search(text := text_of(path)) or OUTSIDE.search(text)]
    assert found == []


def test_modules_say_what_they_hold(tracked: tuple[Path, ...]) -> None:
    assert [str(path) for path in tracked if path.suffix == ".py" and path.stem in VAGUE] == []


def test_files_are_small_and_texts(tracked: tuple[Path, ...], house: Path) -> None:
    pictures = house / "docs/images"
    assert [str(path) for path in tracked if b"\0" in path.read_bytes()[:8000] and pictures not in path.parents] == []
    assert [str(path) for path in tracked if path.stat().st_size > 1_000_000] == []


def test_links_lead_somewhere_when_they_are_relative(tracked: tuple[Path, ...]) -> None:
    dead = []
    for page in (path for path in tracked if path.suffix == ".md"):
        targets = [first or second for first, second in LINK.findall(page.read_text())]
        local = [unquote(target) for target in targets if "://" not in target and not target.startswith("mailto:")]
        dead += [f"{page}: {target}" for target in local if not (page.parent / target).exists()]
    assert dead == []


def test_decisions_are_numbered_without_gaps(house: Path) -> None:
    decisions = sorted((house / "docs/adr").glob("[0-9]*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = path.read_text()
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], path
