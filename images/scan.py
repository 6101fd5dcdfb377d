"""List known vulnerabilities of the packages in images, using databases on this machine; downloads nothing.

    scan.py [IMAGE…] [--database PATH…] [--unimportant] [--json]

IMAGE is a name in the engine's store, the tar file of an image or an SPDX file; default: the runner. A database is a file of
Debian's security tracker or of OSV (vulnerabilities.py). Without --database, all files of the folder VULNERABILITIES count, by
default $XDG_CACHE_HOME/edge-vision-toolkit/vulnerabilities. Exit codes: 0 nothing found, 1 vulnerabilities, 4 no database.
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
scan: no vulnerability database found, and none is downloaded. Put one or both into
scan:   {folder}
scan: or pass them (--database, or the folder in VULNERABILITIES):
scan:   Debian's security tracker as JSON, for Debian packages
scan:   OSV's export of the PyPI ecosystem (all.zip), for wheels"""
PURL = re.compile(r"pkg:(deb/debian|pypi)/([^@?]+)@([^?]+)(?:\?(.*))?$")
SOURCE = re.compile(r"built package from: (\S+) (\S+)")


def packages(document: dict[str, Any]) -> list[Package]:
    """Return the packages of an SPDX document; exit if it does not name the Debian release."""
    matches = [_package(entry) for entry in document["packages"]]
    return sorted(one for one in matches if one)


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
        sys.exit("scan: the bill of materials does not name the Debian release of its packages; rebuild the image")
    source = SOURCE.search(entry.get("sourceInfo", ""))
    return Package(name, version, *(source.groups() if source else (name, version)), release)


def documents(image: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of each bill of materials of an image."""
    file = Path(image)
    if file.suffix == ".json":
        yield image, json.loads(file.read_text())
        return
    with tempfile.TemporaryDirectory() as folder:
        stored = layout.Layout(file if file.is_file() else layout.save(image, Path(folder)))
        for platform in sorted(stored.images()):
            yield f"{image} {platform}", layout.bill_of_materials(stored, platform)


def databases(args: list[Path]) -> list[Path]:
    """Return the given databases, or all in the default folder; exit if there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("VULNERABILITIES") or cache / "edge-vision-toolkit" / "vulnerabilities")
    missing = [str(path) for path in args if not path.exists()]
    if missing:
        print(f"scan: there is no {', '.join(missing)}", file=sys.stderr)
        raise SystemExit(2)
    matches = args or sorted(path for path in folder.glob("*") if not path.name.startswith("."))
    if not matches:
        print(NONE_AT_HAND.format(folder=folder), file=sys.stderr)
        raise SystemExit(4)
    return matches


def scan(installed: Mapping[str, Sequence[Package]], paths: Iterable[Path]) -> dict[str, list[Finding]]:
    """Return the findings for each image; the first database that lists a vulnerability counts."""
    everything = {package for held in installed.values() for package in held}
    known: dict[tuple[Package, str], Finding] = {}
    for path in paths:
        count, matches = findings(path, everything)
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        print(f"scan: {path.name}: {count} entries, of {written:%Y-%m-%d}", file=sys.stderr)
        for one in matches:
            known.setdefault((one.package, one.identifier), one)
    return {name: [one for one in sorted(known.values()) if one.package in held] for name, held in installed.items()}


def _print(name: str, matches: list[Finding]) -> None:
    print(f"{name}: {len(matches)} known" if matches else f"{name}: nothing known")
    for one in matches:
        fixed = f"fixed in {one.fixed}" if one.fixed else "no fixed version"
        print(f"  {one.identifier:20} {one.package.name} {one.package.version}  {fixed}  {one.urgency}".rstrip())


def main() -> int:
    """Scan and print; return 1 if vulnerabilities were found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", default=["edge-vision/runner:dev"], metavar="IMAGE")
    parser.add_argument("--database", type=Path, action="append", default=[], metavar="PATH")
    parser.add_argument("--unimportant", action="store_true", help="include what Debian classifies as unimportant")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    paths = databases(args.database)
    installed = {name: packages(document) for image in args.images for name, document in documents(image)}
    try:
        matches = scan(installed, paths)
    except Unreadable as error:
        print(f"scan: {error}", file=sys.stderr)
        return 2
    if not args.unimportant:
        matches = {name: [one for one in rows if one.urgency != UNIMPORTANT] for name, rows in matches.items()}
    if args.json:
        json.dump({name: [asdict(one) for one in rows] for name, rows in matches.items()}, sys.stdout, indent=2)
        print()
    else:
        for name, rows in matches.items():
            _print(name, rows)
    return int(any(matches.values()))


if __name__ == "__main__":
    sys.exit(main())
