"""List the known vulnerabilities of what is in images, by databases that lie on this machine; nothing is fetched.

    scan.py [IMAGE…] [--database PATH…] [--unimportant] [--json]

IMAGE is a name in the engine's store, an image's tar file or an SPDX file; by default the runner. A database is a file of
Debian's security tracker or of OSV (vulnerabilities.py); without --database it is all in the folder VULNERABILITIES, by
default $XDG_CACHE_HOME/edge-vision-toolkit/vulnerabilities. Exit codes: 0 nothing known, 1 something, 4 no database.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

import layout  # noqa: E402, the folder of this file is known only now
from vulnerabilities import UNIMPORTANT, Finding, Package, Unreadable, findings  # noqa: E402

NONE_AT_HAND = """\
scan: no database of known vulnerabilities is at hand, and none is fetched. Put one or both into
scan:   {folder}
scan: or name them (--database, or the folder in VULNERABILITIES):
scan:   Debian's security tracker as JSON, for Debian's packages: its page of data offers it
scan:   OSV's export of the ecosystem PyPI (all.zip), for the wheels"""
PURL = re.compile(r"pkg:(deb/debian|pypi)/([^@?]+)@([^?]+)(?:\?(.*))?$")
SOURCE = re.compile(r"built package from: (\S+) (\S+)")


def packages(document: dict[str, Any]) -> list[Package]:
    """What an SPDX document names; exits when it does not say of which release a Debian package is."""
    found = [_package(entry) for entry in document["packages"]]
    return sorted(one for one in found if one)


def _package(entry: dict[str, Any]) -> Package | None:
    references = (reference["referenceLocator"] for reference in entry.get("externalRefs", ()))
    parts = next((match for match in map(PURL.match, references) if match), None)
    if parts is None:
        return None
    name, version = unquote(parts[2]), unquote(parts[3])
    if parts[1] == "pypi":
        return Package(name, version, name, version, "")
    release = parse_qs(parts[4] or "").get("distro", [""])[0]
    if not release:
        sys.exit(
            "scan: the bill of materials does not say of which Debian release its packages are; build the image again"
        )
    source = SOURCE.search(entry.get("sourceInfo", ""))
    return Package(name, version, *(source.groups() if source else (name, version)), release)


def documents(image: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every bill of materials of an image, by what it is called."""
    file = Path(image)
    if file.suffix == ".json":
        yield image, json.loads(file.read_text())
        return
    with tempfile.TemporaryDirectory() as folder:
        stored = layout.Layout(file if file.is_file() else layout.save(image, Path(folder)))
        for platform in sorted(stored.images()):
            yield f"{image} {platform}", layout.bill_of_materials(stored, platform)


def databases(given: list[Path]) -> list[Path]:
    """Those that were named, or all in the usual folder; exits when there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("VULNERABILITIES") or cache / "edge-vision-toolkit" / "vulnerabilities")
    missing = [str(path) for path in given if not path.exists()]
    if missing:
        print(f"scan: there is no {', '.join(missing)}", file=sys.stderr)
        raise SystemExit(2)
    found = given or sorted(path for path in folder.glob("*") if not path.name.startswith("."))
    if not found:
        print(NONE_AT_HAND.format(folder=folder), file=sys.stderr)
        raise SystemExit(4)
    return found


def scan(installed: Mapping[str, Sequence[Package]], paths: Iterable[Path]) -> dict[str, list[Finding]]:
    """What the databases know of each image's packages; a vulnerability that several know is taken from the first."""
    everything = {package for held in installed.values() for package in held}
    known: dict[tuple[Package, str], Finding] = {}
    for path in paths:
        count, found = findings(path, everything)
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        print(f"scan: {path.name}: {count} entries, of {written:%Y-%m-%d}", file=sys.stderr)
        for one in found:
            known.setdefault((one.package, one.identifier), one)
    return {name: [one for one in sorted(known.values()) if one.package in held] for name, held in installed.items()}


def _print(name: str, found: list[Finding]) -> None:
    print(f"{name}: {len(found)} known" if found else f"{name}: nothing known")
    for one in found:
        fixed = f"fixed in {one.fixed}" if one.fixed else "no fixed version"
        print(f"  {one.identifier:20} {one.package.name} {one.package.version}  {fixed}  {one.urgency}".rstrip())


def main() -> int:
    """Scan and print; 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", default=["edge-vision/runner:dev"], metavar="IMAGE")
    parser.add_argument("--database", type=Path, action="append", default=[], metavar="PATH")
    parser.add_argument("--unimportant", action="store_true", help="also what Debian calls unimportant")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    paths = databases(given.database)
    installed = {name: packages(document) for image in given.images for name, document in documents(image)}
    try:
        found = scan(installed, paths)
    except Unreadable as error:
        print(f"scan: {error}", file=sys.stderr)
        return 2
    if not given.unimportant:
        found = {name: [one for one in rows if one.urgency != UNIMPORTANT] for name, rows in found.items()}
    if given.json:
        json.dump({name: [asdict(one) for one in rows] for name, rows in found.items()}, sys.stdout, indent=2)
        print()
    else:
        for name, rows in found.items():
            _print(name, rows)
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
