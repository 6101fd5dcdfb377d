"""Read a stored image: its index, the manifest of each platform, the layers and their files.

    layout.py [IMAGE]                          print digests and compressed sizes per platform, as JSON
    layout.py [IMAGE] --sbom [--platform P]    print its contents as SPDX: the attached document, or one generated from its layers

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
# Files that a bill of materials is generated from.
DECLARING = re.compile(r"usr/lib/os-release|var/lib/dpkg/status\.d/[^/]+|.*\.dist-info/METADATA")


@dataclass(frozen=True)
class Image:
    """One platform of an image: its digest, manifest and configuration."""

    platform: str
    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]

    @property
    def config_digest(self) -> str:
        """Digest of the configuration."""
        return str(self.manifest["config"]["digest"])

    @property
    def size_bytes(self) -> int:
        """Compressed size of all layers: what a machine downloads that has none of them."""
        return sum(int(layer["size"]) for layer in self.manifest["layers"])


class Layout:
    """An image in a tar file of the OCI layout (`docker save`, or buildx with type=oci)."""

    def __init__(self, file: Path) -> None:
        self._archive = tarfile.open(file)  # noqa: SIM115, open as long as this object
        self._members = {member.name.removeprefix("./"): member for member in self._archive}

    def images(self) -> dict[str, Image]:
        """Return the image of each platform, for example by "linux/arm64"; attestations are not platforms."""
        return {image.platform: image for image in self._find(self._read_json("index.json"))}

    def statements(self, digest: str = "") -> list[dict[str, Any]]:
        """Return the attached in-toto statements (provenance, bills of materials) of that digest, or of all."""
        return [
            self.blob_json(layer["digest"])
            for attested, entry in self._attached(self._read_json("index.json"))
            for layer in entry["layers"]
            if digest in ("", attested)
        ]

    def annotations(self) -> dict[str, str]:
        """Return the annotations of the index of all platforms."""
        (entry,) = self._read_json("index.json")["manifests"]
        annotations: dict[str, str] = self.blob_json(entry["digest"]).get("annotations", {})
        return annotations

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
        """Return the bytes with this digest, after checking it."""
        content = self._read(self._place(digest))
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise ValueError(f"blob {digest} is damaged: its bytes have another digest")
        return content

    def blob_json(self, digest: str) -> dict[str, Any]:
        """Return the JSON document with this digest."""
        document: dict[str, Any] = json.loads(self.blob(digest))
        return document

    def files(self, image: Image) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Yield every entry of every layer, lowest layer first, with the bytes of files."""
        for layer in image.manifest["layers"]:
            blob = self.blob(layer["digest"])
            content = gzip.decompress(blob) if layer["mediaType"].endswith("gzip") else blob
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isreg() else None
                    yield member, stream.read() if stream else b""

    def _has(self, digest: str) -> bool:
        return self._place(digest) in self._members

    def _place(self, digest: str) -> str:
        return f"blobs/{digest.replace(':', '/')}"

    def _read(self, name: str) -> bytes:
        stream = self._archive.extractfile(self._members[name])
        return stream.read() if stream else b""

    def _read_json(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._read(name))
        return document


def save(name: str, folder: Path) -> Path:
    """Save the image `name` of the engine's store, with all platforms, to a file in `folder`."""
    file = folder / "image.tar"
    if subprocess.run(["docker", "save", "--output", file, name], check=False).returncode:
        print(
            f"layout: the engine has no image {name}; `just build` builds images, `docker image ls` lists them",
            file=sys.stderr,
        )
        raise SystemExit(4)
    return file


def bill_of_materials(image: Layout, platform: str) -> dict[str, Any]:
    """Return the SPDX document of one platform: the attached one, or one generated from its layers."""
    images = image.images()
    if platform not in images:
        print(f"layout: the image is not for {platform}, but for {', '.join(sorted(images))}", file=sys.stderr)
        raise SystemExit(2)
    for statement in image.statements(images[platform].digest):
        if statement["predicateType"].startswith("https://spdx.dev"):
            document: dict[str, Any] = statement["predicate"]
            return document
    return _document_of_layers(image, images[platform])


def _document_of_layers(image: Layout, one: Image) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        for member, content in image.files(one):
            if member.isreg() and DECLARING.fullmatch(member.name):
                place = Path(folder, member.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        return dict(sbom.document(Path(folder), "image", 0))


def main() -> None:
    """Print digests and sizes, or the bill of materials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "image", nargs="?", default="edge-vision/runner:dev", help="a name in the engine's store, or a file"
    )
    parser.add_argument("--sbom", action="store_true", help="print its contents as SPDX")
    own = f"linux/{ARCHITECTURES.get(machines.machine(), machines.machine())}"
    parser.add_argument("--platform", default=own, help="platform; default: this machine's")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(args.image)
        image = Layout(file if file.is_file() else save(args.image, Path(folder)))
        facts = bill_of_materials(image, args.platform) if args.sbom else _facts(image)
    json.dump(facts, sys.stdout, indent=2)
    print()


def _facts(image: Layout) -> dict[str, Any]:
    return {
        platform: {"manifest": one.digest, "config": one.config_digest, "compressed_bytes": one.size_bytes}
        for platform, one in sorted(image.images().items())
    }


if __name__ == "__main__":
    main()
