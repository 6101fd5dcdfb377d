"""Read an image as it is stored: its index, the manifest of each platform, the layers and the files in them.

    layout.py [IMAGE]                          print digests and compressed sizes per platform, as JSON
    layout.py [IMAGE] --sbom [--platform P]    print what is in it, as SPDX: the document attached to it, or one made of its layers

IMAGE is a name in the engine's store, or a tar file of the OCI layout; the runner by default.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import platform as machines
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "inside")]

import sbom  # noqa: E402, the folder is known only now

ATTESTATION = "vnd.docker.reference.type"
ATTESTED = "vnd.docker.reference.digest"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
# What a bill of materials is made of.
DECLARING = re.compile(r"usr/lib/os-release|var/lib/dpkg/status\.d/[^/]+|.*\.dist-info/METADATA")


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

    def statements(self, digest: str = "") -> list[dict[str, Any]]:
        """The in-toto statements attached to the image with that digest, or to any: provenance, bills of materials."""
        return [
            self.blob_json(layer["digest"])
            for attested, entry in self._attached(self._read_json("index.json"))
            for layer in entry["layers"]
            if digest in ("", attested)
        ]

    def annotations(self) -> dict[str, str]:
        """Of the index that names all platforms."""
        (entry,) = self._read_json("index.json")["manifests"]
        found: dict[str, str] = self.blob_json(entry["digest"]).get("annotations", {})
        return found

    def _find(self, index: dict[str, Any]) -> Iterator[Image]:
        for entry in index["manifests"]:
            document = self.blob_json(entry["digest"]) if self._has(entry["digest"]) else {}
            if "manifests" in document:
                yield from self._find(document)
            elif document and ATTESTATION not in entry.get("annotations", {}):
                config = self.blob_json(document["config"]["digest"])
                yield Image(f"{config['os']}/{config['architecture']}", entry["digest"], document, config)

    def _attached(self, index: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for entry in index["manifests"]:
            document = self.blob_json(entry["digest"]) if self._has(entry["digest"]) else {}
            if "manifests" in document:
                yield from self._attached(document)
            elif ATTESTATION in entry.get("annotations", {}):
                yield entry["annotations"][ATTESTED], document

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
    if subprocess.run(["docker", "save", "--output", file, name], check=False).returncode:
        print(
            f"layout: {name} cannot be read; `just build` makes images, `docker image ls` lists them", file=sys.stderr
        )
        raise SystemExit(4)
    return file


def bill_of_materials(image: Layout, platform: str) -> dict[str, Any]:
    """The SPDX document of one platform of an image: the one attached to it, or one made of its layers as it would be."""
    there = image.images()
    if platform not in there:
        print(f"layout: the image is not for {platform}, but for {', '.join(sorted(there))}", file=sys.stderr)
        raise SystemExit(2)
    for statement in image.statements(there[platform].digest):
        if statement["predicateType"].startswith("https://spdx.dev"):
            document: dict[str, Any] = statement["predicate"]
            return document
    return _made(image, there[platform])


def _made(image: Layout, one: Image) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        for member, content in image.files(one):
            if member.isreg() and DECLARING.fullmatch(member.name):
                place = Path(folder, member.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        return dict(sbom.document(Path(folder), "image", 0))


def main() -> None:
    """Print what the image is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "image", nargs="?", default="edge-vision/runner:dev", help="a name in the engine's store, or a file"
    )
    parser.add_argument("--sbom", action="store_true", help="print what is in it, as SPDX")
    own = f"linux/{ARCHITECTURES.get(machines.machine(), machines.machine())}"
    parser.add_argument("--platform", default=own, help="of which platform; by default this machine's")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(given.image)
        image = Layout(file if file.is_file() else save(given.image, Path(folder)))
        facts = bill_of_materials(image, given.platform) if given.sbom else _facts(image)
    json.dump(facts, sys.stdout, indent=2)
    print()


def _facts(image: Layout) -> dict[str, Any]:
    return {
        platform: {"manifest": one.digest, "config": one.config_digest, "compressed_bytes": one.size_bytes}
        for platform, one in sorted(image.images().items())
    }


if __name__ == "__main__":
    main()
