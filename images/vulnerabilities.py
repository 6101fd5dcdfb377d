"""Vulnerability databases in their publishers' formats, read from files and never downloaded.

    Debian's security tracker      one JSON file: source package → CVE → release → fixed version
    OSV                            a .zip, a folder or a file of records, for the ecosystems PyPI and Debian

A file may be compressed (.gz). Its kind is detected from its content.
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
    """An installed package, as databases identify it. `release` is the Debian release, empty for a wheel."""

    name: str
    version: str
    source: str
    source_version: str
    release: str


@dataclass(frozen=True, order=True)
class Finding:
    """One vulnerability of one package; `fixed` is empty without a fixed version."""

    package: Package
    identifier: str
    fixed: str
    urgency: str


class Unreadable(Exception):  # noqa: N818 - what a file is, not what went wrong in here
    """The file is not a database of a supported kind."""


def findings(path: Path, packages: Collection[Package]) -> tuple[int, list[Finding]]:
    """Return the number of entries in the database at `path`, and those that concern `packages`.

    Raises:
        Unreadable: the file is not a database.
    """
    count, matches, by_name = 0, list[Finding](), _by_name(packages)
    for document in _documents(path):
        if isinstance(document, dict) and "affected" in document:
            count, matches = count + 1, [*matches, *_of_record(document, by_name)]
        elif _is_tracker(document):
            count, matches = count + len(document), [*matches, *_of_tracker(document, packages)]
        else:
            raise Unreadable(f"{path} is neither Debian's security tracker as JSON nor records of OSV")
    return count, sorted(set(matches))


def _documents(path: Path) -> Iterator[Any]:
    """Yield each JSON document of a file, an archive or a folder; a file may hold one per line."""
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
            raise Unreadable(f"{path} is not JSON: {error}") from None


def _by_name(packages: Collection[Package]) -> dict[tuple[str, str], list[Package]]:
    """Group packages by OSV ecosystem and name."""
    named: dict[tuple[str, str], list[Package]] = {}
    for one in packages:
        ecosystem = f"Debian:{RELEASES.get(one.release, one.release)}" if one.release else "PyPI"
        named.setdefault((ecosystem, one.source), []).append(one)
    return named


def _of_record(record: dict[str, Any], by_name: dict[tuple[str, str], list[Package]]) -> Iterator[Finding]:
    """Findings of one OSV record."""
    if record.get("withdrawn"):
        return
    for affected in record["affected"]:
        named = affected.get("package", {})
        for package in by_name.get((named.get("ecosystem", ""), _normal(named)), ()):
            affected_now, fixed = _affects(affected, package)
            if affected_now:
                yield Finding(package, _known_as(record), fixed, _urgency(record, affected))


def _normal(named: dict[str, str]) -> str:
    """The package name, normalized by PEP 503 for PyPI."""
    name = named.get("name", "")
    return re.sub(r"[-_.]+", "-", name).lower() if named.get("ecosystem") == "PyPI" else name


def _affects(affected: dict[str, Any], package: Package) -> tuple[bool, str]:
    key: ordering.Key = ordering.debian if package.release else ordering.wheel
    listed, fixed = package.source_version in affected.get("versions", ()), ""
    for one in affected.get("ranges", ()):
        if one.get("type") == "ECOSYSTEM":
            affected_now, end = ordering.in_events(package.source_version, one["events"], key)
            listed, fixed = listed or affected_now, fixed or (end if affected_now else "")
    return listed, fixed


def _known_as(record: dict[str, Any]) -> str:
    """The CVE number if there is one, which other databases use as well."""
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
    """Findings of Debian's tracker: "resolved" from `fixed_version` on ("0": never affected), otherwise open."""
    for package in packages:
        for identifier, entry in document.get(package.source, {}).items() if package.release else ():
            release = entry["releases"].get(package.release)
            if release is None or release.get("status") == "undetermined":
                continue
            fixed = release.get("fixed_version", "") if release["status"] == "resolved" else ""
            if not fixed or ordering.debian(package.source_version) < ordering.debian(fixed):
                yield Finding(package, identifier, fixed, str(release.get("urgency", "")))
