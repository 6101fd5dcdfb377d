"""Software bill of materials (SPDX 2.3) of an image, from dpkg's and the wheels' metadata, without network access.

    sbom.py                     as BuildKit's generator: reads BUILDKIT_SCAN_SOURCE, writes to BUILDKIT_SCAN_DESTINATION
    sbom.py ROOT                print the document for an unpacked root filesystem

The document does not depend on when or where it is generated.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

Entry = dict[str, object]
STATUS = ("var/lib/dpkg/status.d/*", "var/lib/dpkg/status")
WHEELS = "**/*.dist-info/METADATA"


def packages(root: Path) -> list[Entry]:
    """Return an SPDX package for each Debian package and wheel under `root`, sorted by identifier."""
    entries = [*_debian(root), *_wheels(root)]
    return sorted(entries, key=lambda entry: str(entry["SPDXID"]))


def _debian(root: Path) -> Iterator[Entry]:
    release = _release(root)
    for pattern in STATUS:
        for file in root.glob(pattern):
            for paragraph in file.read_text(encoding="utf-8").strip().split("\n\n"):
                control = HeaderParser().parsestr(paragraph)
                name, version, architecture = control["Package"], control["Version"], control["Architecture"]
                url = f"pkg:deb/debian/{name}@{_escape(version)}?arch={architecture}&distro={release}"
                supplier = f"Organization: {control.get('Maintainer', 'Debian')}"
                yield _entry("deb", name, version, url, supplier, "NOASSERTION") | {"sourceInfo": _source(control)}


def _source(control: Message) -> str:
    """The source package it was built from, by which vulnerability databases list Debian packages."""
    name, _, version = control.get("Source", control["Package"]).partition(" ")
    return f"built package from: {name} {version.strip('()') or control['Version']}"


def _release(root: Path) -> str:
    """Codename of the Debian release in the root filesystem; empty without one."""
    file = root / "usr/lib/os-release"
    entries = re.search(
        "^VERSION_CODENAME=(.+)$", file.read_text(encoding="utf-8") if file.exists() else "", re.MULTILINE
    )
    return entries[1] if entries else ""


def _wheels(root: Path) -> Iterator[Entry]:
    for file in root.glob(WHEELS):
        metadata = HeaderParser().parsestr(file.read_text(encoding="utf-8", errors="replace"))
        name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
        license_text = metadata.get("License-Expression") or "NOASSERTION"
        url = f"pkg:pypi/{name}@{_escape(metadata['Version'])}"
        yield _entry("pypi", name, metadata["Version"], url, "NOASSERTION", license_text)


def _entry(kind: str, name: str, version: str, url: str, supplier: str, license_text: str) -> Entry:
    return {
        "SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", f"{kind}-{name}-{version}"),
        "name": name,
        "versionInfo": version,
        "supplier": supplier,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": license_text,
        "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": url}],
    }


def _escape(version: str) -> str:
    return version.replace("+", "%2B").replace(":", "%3A").replace("~", "~")


def document(root: Path, name: str, epoch: int) -> Entry:
    """Return the SPDX document of the root filesystem at `root`."""
    entries = packages(root)
    digest = hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
    relations = [
        {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": entry["SPDXID"]}
        for entry in entries
    ]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:edge-vision-toolkit:sbom:{digest}",
        "creationInfo": {
            "creators": ["Tool: edge-vision-toolkit-sbom"],
            "created": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "packages": entries,
        "relationships": relations,
    }


def main() -> None:
    """Print a document, or write the statement that BuildKit attaches to the image."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    if len(sys.argv) > 1:
        json.dump(document(Path(sys.argv[1]), "image", epoch), sys.stdout, indent=1, sort_keys=True)
        return
    root, destination = Path(os.environ["BUILDKIT_SCAN_SOURCE"]), Path(os.environ["BUILDKIT_SCAN_DESTINATION"])
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": "https://spdx.dev/Document",
        "predicate": document(root, "image", epoch),
    }
    (destination / "image.spdx.json").write_text(json.dumps(statement, sort_keys=True), encoding="utf-8")


if __name__ == "__main__":
    main()
