"""Container images on the controller: resolve a name of the inventory, and the files that are transferred for it.

    toolkit_container_image: edge-vision/runner:dev                    in this machine's engine; its layers are sent as files
    toolkit_container_image: registry.example/vision/runner@sha256:…   the device pulls it, by digest

A container image that is sent is the engine's own export, an OCI layout. Every layer is a file named by its digest, so that
the device's store holds each layer once and only new ones are transferred (toolkit.fleet.transfer.staging).
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.errors import ConfigurationError, MachineError
from toolkit.fleet.transfer.tree import FileTree, build_tree
from toolkit.system import container_engine
from toolkit.system.cache_dirs import cache_dir

SENT = "toolkit-runner"
"""What a device's engine calls a container image that was sent to it; the tag is its digest."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
"""How container images call the machines that `uname -m` names."""
_NAME = re.compile(r"[a-z0-9][\w.\-/:]*(@sha256:[0-9a-f]{64})?")
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """A container image for one architecture, as a device gets it."""

    tree: FileTree
    """An OCI layout that `docker load` takes."""
    ids: frozenset[str]
    """What an engine may call it: the digest of its manifest, or of its configuration."""


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """A container image of the inventory."""

    name: str
    reference: str
    """What the device's engine calls it; names its content."""
    variants: Mapping[str, PlatformImage] = field(default_factory=dict, hash=False)
    """By architecture; none where the device pulls it."""

    @property
    def is_pulled(self) -> bool:
        """Whether the device pulls it by itself."""
        return not self.variants


def is_name(text: str) -> bool:
    """Return whether the text is a valid container image name."""
    return _NAME.fullmatch(text) is not None


def resolve_images(names: Iterable[str]) -> dict[str, ContainerImage]:
    """Return container images by name: exported from this machine's engine, unless devices pull them.

    Raises:
        MachineError: no engine answers here, or it is too old.
        ConfigurationError: a container image is not there.
    """
    return {name: ContainerImage(name, name) if "@sha256:" in name else _here(name) for name in sorted(set(names))}


def images_for(devices: Iterable[Device]) -> dict[str, ContainerImage]:
    """Return the container images of the devices; see `resolve_images`."""
    return resolve_images(device.container_image for device in devices if device.container_image)


def _here(name: str) -> ContainerImage:
    layout = _exported(name)
    (top,) = _read(layout / "index.json")["manifests"]
    digest = str(top["digest"]).partition(":")[2]
    reference = f"{SENT}:{digest}"
    variants = {architecture: _variant(layout, each, reference) for architecture, each in _manifests(layout, top)}
    return ContainerImage(name, reference, variants)


def _exported(name: str) -> Path:
    """Return the container image as an OCI layout in the cache; earlier exports of that name are removed."""
    import docker

    try:
        container_image = container_engine.docker_client().images.get(name)
    except docker.errors.ImageNotFound:
        remedy = "build or pull it here (toolkit build), or name it by @sha256:… to have devices pull it"
        raise ConfigurationError(
            "no such container image in this machine's engine", where=name, remedy=remedy
        ) from None
    place = (
        cache_dir("exported-container-images")
        / name.replace("/", "_").replace(":", "_")
        / str(container_image.id).partition(":")[2]
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two rollouts may begin at once
        if not place.is_dir():
            _export(container_image.save(named=name), name, place)
    return place


def _export(stream: Iterator[bytes], name: str, place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as part:
        _unpack(stream, Path(part))
        if not (Path(part) / "blobs").is_dir():
            remedy = (
                "use Docker Engine 25 or later on the controller, or have devices pull the container image by @sha256:…"
            )
            raise MachineError("this machine's engine exports no OCI layout", where=name, remedy=remedy)
        Path(part).rename(place)
    for other in place.parent.iterdir():
        if other.is_dir() and other != place:
            shutil.rmtree(other, ignore_errors=True)  # the export is whole; what cannot be removed costs room alone


def _unpack(stream: Iterator[bytes], place: Path) -> None:
    with tempfile.TemporaryFile(dir=place.parent) as stored:
        for block in stream:
            stored.write(block)
        stored.seek(0)
        with tarfile.open(fileobj=stored) as archive:
            archive.extractall(place, filter="data")


def _manifests(layout: Path, entry: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Architecture and descriptor of every container image that is whole in the layout; what tells of container images is left out."""
    blob = _blob(layout, entry)
    if not blob.exists():
        return
    result = _read(blob)
    if "manifests" in result:
        for each in result["manifests"]:
            yield from _manifests(layout, each)
        return
    parts = [result["config"], *result["layers"]]
    if all(_blob(layout, part).exists() for part in parts):
        architecture = _read(_blob(layout, result["config"])).get("architecture", "unknown")
        if architecture != "unknown":
            yield str(architecture), entry


def _variant(layout: Path, entry: Mapping[str, Any], reference: str) -> PlatformImage:
    """Return the layout of one manifest alone, for engines with either kind of store."""
    manifest = _read(_blob(layout, entry))
    config, layers = manifest["config"], manifest["layers"]
    name = {
        "io.containerd.image.name": f"docker.io/library/{reference}",
        "org.opencontainers.image.ref.name": reference,
    }
    described = {key: entry[key] for key in ("mediaType", "digest", "size")} | {"annotations": name}
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [described]}
    older = [{"Config": _path(config), "RepoTags": [reference], "Layers": [_path(layer) for layer in layers]}]
    tree = build_tree(
        {_path(part): _blob(layout, part) for part in (entry, config, *layers)}
        | {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        | {"index.json": json.dumps(index).encode(), "manifest.json": json.dumps(older).encode()}
    )
    return PlatformImage(tree, frozenset({str(entry["digest"]), str(config["digest"])}))


def _path(entry: Mapping[str, Any]) -> str:
    return "blobs/" + str(entry["digest"]).replace(":", "/")


def _blob(layout: Path, entry: Mapping[str, Any]) -> Path:
    return layout / _path(entry)


def _read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_bytes())
    return result
