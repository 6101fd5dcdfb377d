"""Read an image as it is stored: its index, the manifest of each platform, the layers and the files in them.

layout.py NAME|FILE.tar     print digests and compressed sizes per platform as JSON, or the bill of materials that the image carries (SPDX).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True)
class Image:
    """One platform of an image: what it is by digest, and what its layers are."""

    platform: str
    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]

    @property
    def config_digest(self) -> str:
        """The digest of its configuration."""
        return str(self.manifest["config"]["digest"])

    @property
    def size_bytes(self) -> int:
        """What travels to a machine that has none of it: the compressed layers."""
        return sum(int(layer["size"]) for layer in self.manifest["layers"])


class Layout:
    """An image in a tar file of the OCI layout (`docker save`, or buildx with type=oci)."""

    def __init__(self, file: Path) -> None:
        self._archive = tarfile.open(file)  # noqa: SIM115, open as long as this object
        self._members = {member.name.removeprefix("./"): member for member in self._archive}

    def images(self) -> dict[str, Image]:
        """Each platform's image by "linux/arm64"; attestations are not platforms."""
        return {image.platform: image for image in self._find(self._read_json("index.json"))}

    def statements(self) -> list[dict[str, Any]]:
        """The in-toto statements that are attached: provenance, software bills of materials."""
        return [
            self.blob_json(layer["digest"])
            for entry in self._attached(self._read_json("index.json"))
            for layer in entry["layers"]
        ]

    def _find(self, index: dict[str, Any]) -> Iterator[Image]:
        for entry in index["manifests"]:
            document = self.blob_json(entry["digest"]) if self._has(entry["digest"]) else {}
            if "manifests" in document:
                yield from self._find(document)
            elif document and ATTESTATION not in entry.get("annotations", {}):
                config = self.blob_json(document["config"]["digest"])
                yield Image(f"{config['os']}/{config['architecture']}", entry["digest"], document, config)

    def _attached(self, index: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for entry in index["manifests"]:
            document = self.blob_json(entry["digest"]) if self._has(entry["digest"]) else {}
            if "manifests" in document:
                yield from self._attached(document)
            elif ATTESTATION in entry.get("annotations", {}):
                yield document

    def blob(self, digest: str) -> bytes:
        """The bytes with this digest, checked."""
        content = self._read(self._place(digest))
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise ValueError(f"blob {digest} has other bytes")
        return content

    def blob_json(self, digest: str) -> dict[str, Any]:
        """The JSON document with this digest."""
        document: dict[str, Any] = json.loads(self.blob(digest))
        return document

    def files(self, image: Image) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Every entry of every layer of `image`, the lowest layer first, with the bytes of files."""
        for layer in image.manifest["layers"]:
            blob = self.blob(layer["digest"])
            content = gzip.decompress(blob) if layer["mediaType"].endswith("gzip") else blob
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for member in archive:
                    taken = archive.extractfile(member) if member.isreg() else None
                    yield member, taken.read() if taken else b""

    def _has(self, digest: str) -> bool:
        return self._place(digest) in self._members

    def _place(self, digest: str) -> str:
        return f"blobs/{digest.replace(':', '/')}"

    def _read(self, name: str) -> bytes:
        taken = self._archive.extractfile(self._members[name])
        return taken.read() if taken else b""

    def _read_json(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._read(name))
        return document


def save(name: str, folder: Path) -> Path:
    """Write the image `name` of the engine's store, with all its platforms, to a file in `folder`."""
    file = folder / "image.tar"
    subprocess.run(["docker", "save", "--output", file, name], check=True)
    return file


def bill_of_materials(image: Layout, platform: str) -> dict[str, Any]:
    """The SPDX document that is attached to one platform of an image; exits when there is none."""
    machine = {"linux/amd64": "amd64", "linux/arm64": "arm64"}[platform]
    for statement in image.statements():
        document: dict[str, Any] = statement.get("predicate", {})
        if statement["predicateType"].startswith("https://spdx.dev") and f"?arch={machine}" in json.dumps(document):
            return document
    print(f"layout: the image carries no bill of materials for {platform}; build it with -cross", file=sys.stderr)
    raise SystemExit(1)


def main() -> None:
    """Print what the image is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "image", nargs="?", default="edge-vision/runner:dev", help="a name in the engine's store, or a file"
    )
    parser.add_argument("--sbom", metavar="PLATFORM", choices=["linux/amd64", "linux/arm64"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(given.image)
        image = Layout(file if file.is_file() else save(given.image, Path(folder)))
        facts = bill_of_materials(image, given.sbom) if given.sbom else _facts(image)
    json.dump(facts, sys.stdout, indent=2)
    print()


def _facts(image: Layout) -> dict[str, Any]:
    return {
        platform: {"manifest": one.digest, "config": one.config_digest, "compressed_bytes": one.size_bytes}
        for platform, one in sorted(image.images().items())
    }


if __name__ == "__main__":
    main()
