"""A release from a channel of an OCI registry, for devices that nobody logs in to: a systemd timer asks for it.

`toolkit publish BUNDLE REGISTRY/NAME:CHANNEL` puts it there: the documents of `offers` and the pieces are the layers of one
artifact, so what a device has of a release is not fetched again. What became of it is message to the registry, too, under the
tag CHANNEL-device-NAME, where `toolkit status --channel` reads it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Set, Tuple

from ..errors import DeviceError
from .activate import STATE_FILE, Gates, activate
from .descriptor import LAYOUT, RELEASE, SIGNATURE, ReleaseDescriptor, parse_descriptor
from .oci_registry import MANIFEST, Registry
from .receiver import Chunks, decompress

TITLE = "org.opencontainers.image.title"
CHUNK = "application/vnd.edge-vision-toolkit.chunk.v1"
CHUNK_ZLIB = CHUNK + "+zlib"
SHA256 = "edge-vision-toolkit.sha256"
"""Which bytes a packed piece holds."""
STATE_TYPE = "application/vnd.edge-vision-toolkit.state.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def pull(registry: Registry, root: Path, gates: Gates, name: str = "", *, again: bool = False) -> Dict[str, Any]:
    """See `apply`. Where `name` is given, the registry is message what became of it.

    A release that did not pass a gate here is not tried again, unless `again`.

    Raises:
        DeviceError: it cannot be had, or did not pass.
    """
    manifest = registry.manifest()
    descriptor = _fetch_descriptor(registry, manifest)
    refusal = None if again else _earlier_refusal(root, descriptor)
    if refusal is not None:
        return {
            "ok": False,
            "outcome": "refused",
            "release": descriptor.digest,
            "bundle": descriptor.bundle,
            "message": refusal,
        }

    def fetch(wanted: Set[str]) -> Chunks:
        return _fetch_chunks(registry, manifest, wanted)

    try:
        return activate(root, descriptor, fetch, gates, "pull")
    finally:
        _report(registry, root, name)


def _fetch_descriptor(registry: Registry, manifest: Dict[str, Any]) -> ReleaseDescriptor:
    titles = {_annotation(layer, TITLE): layer["digest"] for layer in manifest["layers"]}
    documents = {name: registry.blob(titles[name]) for name in (LAYOUT, RELEASE, SIGNATURE) if name in titles}
    return parse_descriptor(registry.where, documents)


def _earlier_refusal(root: Path, descriptor: ReleaseDescriptor) -> Optional[str]:
    """Why this very release was refused here the last time, if it was."""
    state = read_state(root)
    if state.get("release") == descriptor.digest and state.get("outcome") == "refused":
        return str(state.get("reason"))
    return None


def _fetch_chunks(registry: Registry, manifest: Dict[str, Any], wanted: Set[str]) -> Iterator[Tuple[str, bytes]]:
    for layer in manifest["layers"]:
        plain = layer["digest"].partition(":")[2]
        sha = _annotation(layer, SHA256) or plain
        if layer.get("mediaType") in (CHUNK, CHUNK_ZLIB) and sha in wanted:
            yield sha, decompress(registry.blob(layer["digest"]), "z" if layer["mediaType"] == CHUNK_ZLIB else "")


def _annotation(layer: Dict[str, Any], key: str) -> Optional[str]:
    return (layer.get("annotations") or {}).get(key)


def read_state(root: Path) -> Dict[str, Any]:
    """What became of the last release that came by itself; empty where none did."""
    try:
        state = json.loads((root / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _report(registry: Registry, root: Path, name: str) -> None:
    """Best effort: a device that may not write there serves all the same."""
    if not name:
        return
    state = json.dumps({**read_state(root), "device": name}).encode()
    try:
        config = {"mediaType": EMPTY, **registry.put_blob(b"{}")}
        layer = {"mediaType": STATE_TYPE, **registry.put_blob(state), "annotations": {TITLE: STATE_FILE}}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": STATE_TYPE, "config": config}
        registry.put_manifest(f"{registry.tag}-device-{name}", {**manifest, "layers": [layer]})
    except DeviceError:
        return
