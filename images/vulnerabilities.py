"""Databases of known vulnerabilities, as their publishers give them out: read from files, never fetched.

    Debian's security tracker      one JSON file: source package → CVE → release → fixed version
    OSV                            a .zip, a folder or a file of records, for the ecosystems PyPI and Debian

A file may be compressed (.gz). Which kind it is shows in what it holds.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ordering

RELEASES = {"bullseye": "11", "bookworm": "12", "trixie": "13"}
"""OSV numbers Debian's releases, the tracker names them."""
UNIMPORTANT = "unimportant"


@dataclass(frozen=True, order=True)
class Package:
    """Something installed: what databases know it by. `release` is Debian's, and empty for a wheel."""

    name: str
    version: str
    source: str
    source_version: str
    release: str


@dataclass(frozen=True, order=True)
class Finding:
    """One vulnerability of one package; `fixed` is empty where nothing newer is known to help."""

    package: Package
    identifier: str
    fixed: str
    urgency: str


class Unreadable(Exception):  # noqa: N818 - what a file is, not what went wrong in here
    """A file that is no database of a known kind."""


def findings(path: Path, packages: Collection[Package]) -> tuple[int, list[Finding]]:
    """How many entries the database at `path` has, and those that concern `packages`.

    Raises:
        Unreadable: it is none.
    """
    count, found, wanted = 0, list[Finding](), _by_name(packages)
    for document in _documents(path):
        if isinstance(document, dict) and "affected" in document:
            count, found = count + 1, [*found, *_of_record(document, wanted)]
        elif _is_tracker(document):
            count, found = count + len(document), [*found, *_of_tracker(document, packages)]
        else:
            raise Unreadable(f"{path} is neither Debian's security tracker as JSON nor records of OSV")
    return count, sorted(set(found))


def _documents(path: Path) -> Iterator[Any]:
    """Every JSON document in a file, an archive or a folder; one with several lines may have one on each."""
    if path.is_dir():
        for file in sorted(path.rglob("*.json")):
            yield from _parsed(file.read_bytes(), file)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield from _parsed(archive.read(name), path)
    else:
        content = path.read_bytes()
        yield from _parsed(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content, path)


def _parsed(content: bytes, path: Path) -> Iterator[Any]:
    try:
        document = json.loads(content)
        yield from document if isinstance(document, list) else [document]
    except ValueError:
        try:
            yield from [json.loads(line) for line in io.BytesIO(content) if line.strip()]
        except ValueError as error:
            raise Unreadable(f"{path} is no JSON: {error}") from None


def _by_name(packages: Collection[Package]) -> dict[tuple[str, str], list[Package]]:
    """Packages by OSV's ecosystem and their name in it."""
    named: dict[tuple[str, str], list[Package]] = {}
    for one in packages:
        ecosystem = f"Debian:{RELEASES.get(one.release, one.release)}" if one.release else "PyPI"
        named.setdefault((ecosystem, one.source), []).append(one)
    return named


def _of_record(record: dict[str, Any], wanted: dict[tuple[str, str], list[Package]]) -> Iterator[Finding]:
    """In the words of OSV's schema: affected, ranges, events, versions."""
    if record.get("withdrawn"):
        return
    for affected in record["affected"]:
        named = affected.get("package", {})
        for package in wanted.get((named.get("ecosystem", ""), _normal(named)), ()):
            hit, fixed = _affects(affected, package)
            if hit:
                yield Finding(package, _known_as(record), fixed, _urgency(record, affected))


def _normal(named: dict[str, str]) -> str:
    """The name; a wheel's as PEP 503 writes it."""
    name = named.get("name", "")
    return re.sub(r"[-_.]+", "-", name).lower() if named.get("ecosystem") == "PyPI" else name


def _affects(affected: dict[str, Any], package: Package) -> tuple[bool, str]:
    key: ordering.Key = ordering.debian if package.release else ordering.wheel
    listed, fixed = package.source_version in affected.get("versions", ()), ""
    for one in affected.get("ranges", ()):
        if one.get("type") == "ECOSYSTEM":
            hit, end = ordering.in_events(package.source_version, one["events"], key)
            listed, fixed = listed or hit, fixed or (end if hit else "")
    return listed, fixed


def _known_as(record: dict[str, Any]) -> str:
    """The CVE's number where it has one: other databases call it so, too."""
    names = [*record.get("aliases", ()), *record.get("upstream", ()), record["id"]]
    return str(next((name for name in names if name.startswith("CVE-")), record["id"]))


def _urgency(record: dict[str, Any], affected: dict[str, Any]) -> str:
    specific = {**record.get("database_specific", {}), **affected.get("ecosystem_specific", {})}
    return str(specific.get("urgency") or specific.get("severity") or "").lower()


def _is_tracker(document: Any) -> bool:
    entries = list(document.values())[:5] if isinstance(document, dict) else []
    return bool(entries) and all(
        isinstance(entry, dict) and all(isinstance(one, dict) and "releases" in one for one in entry.values())
        for entry in entries
    )


def _of_tracker(document: dict[str, Any], packages: Collection[Package]) -> Iterator[Finding]:
    """Debian's tracker: "resolved" from `fixed_version` on ("0": it never was affected), else open."""
    for package in packages:
        for identifier, entry in document.get(package.source, {}).items() if package.release else ():
            release = entry["releases"].get(package.release)
            if release is None or release.get("status") == "undetermined":
                continue
            fixed = release.get("fixed_version", "") if release["status"] == "resolved" else ""
            if not fixed or ordering.debian(package.source_version) < ordering.debian(fixed):
                yield Finding(package, identifier, fixed, str(release.get("urgency", "")))
