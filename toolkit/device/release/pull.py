"""Pull a release from a channel of an OCI registry; run by a systemd timer.

`toolkit publish BUNDLE REGISTRY/NAME:CHANNEL` publishes it: the documents of `descriptor` and the chunks are the layers
of one artifact, so a device fetches only the chunks it lacks. The outcome is reported to the registry, under the tag
CHANNEL-device-NAME, where `toolkit status --channel` reads it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Collection, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from ..activation.delivery import WAITING, GateOptions, default_python, deliver, read_state
from ..errors import DeviceError
from ..layout import INCOMING, INCOMING_LOCK, STATE_FILE
from ..runtime.variant import probe_facts
from .cohort import identify
from .descriptor import MAX_BYTES, ReleaseDescriptor, load_descriptor
from .oci_registry import MANIFEST, Registry
from .receiver import Chunks, decompress
from .store import sha256_file

TITLE = "org.opencontainers.image.title"
CHUNK = "application/vnd.edge-vision-toolkit.chunk.v1"
CHUNK_ZLIB = CHUNK + "+zlib"
OWN = "io.github.edge-vision-toolkit"
"""What the names of our annotations begin with."""
SHA256 = f"{OWN}.sha256"
"""Annotation with the digest of the uncompressed chunk."""
STATE_TYPE = "application/vnd.edge-vision-toolkit.state.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def pull(
    registry: Registry,
    root: Path,
    options: GateOptions,
    name: str = "",
    labels: Iterable[str] = (),
    *,
    again: bool = False,
) -> Dict[str, Any]:
    """Pull and activate the release of a channel; return the result of `deliver`.

    If `name` is not empty, the outcome is reported to the registry. The name and the labels decide in which batches of a
    staged rollout the device is.

    A release that did not pass a gate on this device is skipped, unless `again` is set.

    Raises:
        DeviceError: the release cannot be fetched, or did not pass.
    """
    identity = identify(name, labels)
    manifest = registry.manifest()
    descriptor = fetch_descriptor(registry, manifest, root, options.accelerator)
    refusal = None if again else _earlier_refusal(root, descriptor)
    if refusal is not None:
        result = {"ok": False, "outcome": "refused", **descriptor.to_json()}
        return {**result, "message": refusal}

    def fetch(missing: Set[str]) -> Chunks:
        return _stored_chunks(incoming, download_chunks(registry, manifest, missing, incoming))

    with _incoming_folder(root) as incoming:
        try:
            result = deliver(root, descriptor, fetch, options, "pull", registry.channel, identity)
            if result["outcome"] != WAITING:
                shutil.rmtree(incoming, ignore_errors=True)  # the next download removes what stays
            return result
        finally:
            _report(registry, root, name, sorted(identity.labels))


@contextmanager
def _incoming_folder(root: Path) -> Iterator[Path]:
    """Yield ROOT/incoming, locked for one pull at a time; a later pull reuses chunks that are left in it.

    Raises:
        DeviceError: another pull is running, or the folder cannot be written.
    """
    folder = root / INCOMING
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / INCOMING_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.mkdir(exist_ok=True)
            yield folder
        finally:
            os.close(handle)
    except BlockingIOError:
        raise DeviceError("another pull is running", where=str(folder), remedy="wait for it to end") from None


def download_chunks(registry: Registry, manifest: Dict[str, Any], missing: Set[str], folder: Path) -> List[str]:
    """Fetch chunks into the folder, which may have some already; return the digests of those present, each verified."""
    present: Set[str] = set()
    for path in folder.iterdir():
        if path.name in missing and sha256_file(path) == path.name:
            present.add(path.name)
        else:  # of another release, or cut off by a power failure
            path.unlink()
    lacking: Dict[str, Tuple[str, str]] = {}
    for layer in manifest["layers"]:
        sha = _annotation(layer, SHA256) or layer["digest"].partition(":")[2]
        if layer.get("mediaType") in {CHUNK, CHUNK_ZLIB} and sha in missing and sha not in present:
            lacking[layer["digest"]] = (sha, "z" if layer["mediaType"] == CHUNK_ZLIB else "")

    def save(digest: str, content: bytes) -> None:
        sha, form = lacking[digest]
        chunk = decompress(content, form)
        if hashlib.sha256(chunk).hexdigest() == sha:
            (folder / sha).write_bytes(chunk)
            present.add(sha)

    registry.fetch_blobs(lacking, save)
    return sorted(present)


def _stored_chunks(folder: Path, names: List[str]) -> Iterator[Tuple[str, bytes]]:
    for name in names:
        yield name, (folder / name).read_bytes()


def fetch_descriptor(registry: Registry, manifest: Dict[str, Any], root: Path, accelerator: str) -> ReleaseDescriptor:
    """Return the descriptor of the release that this device takes.

    Raises:
        DeviceError: its documents cannot be fetched, are too large or contradict each other.
    """
    titles = {_annotation(layer, TITLE): layer["digest"] for layer in manifest["layers"]}

    def read(names: Collection[str], folder: str) -> Dict[str, bytes]:
        documents = {name: registry.blob(titles[folder + name]) for name in names if folder + name in titles}
        oversized = [name for name, content in documents.items() if len(content) > MAX_BYTES[name]]
        if oversized:
            raise DeviceError(f"has documents that are too large: {', '.join(oversized)}", where=registry.where)
        return documents

    return load_descriptor(registry.where, read, lambda: probe_facts(default_python(root), root), accelerator)


def _earlier_refusal(root: Path, descriptor: ReleaseDescriptor) -> Optional[str]:
    """Return why this device refused the release last time; None if it did not, or if what it was judged by is another now."""
    state = read_state(root)
    shadow = state.get("shadow")
    ruled = isinstance(shadow, dict) and shadow.get("decision") != "passed" and shadow.get("rule") != descriptor.shadow
    ruled = ruled or state.get("variant") != (descriptor.variant and descriptor.variant.to_json())
    if state.get("release") == descriptor.digest and state.get("outcome") == "refused" and not ruled:
        return str(state.get("reason"))
    return None


def _annotation(layer: Dict[str, Any], key: str) -> Optional[str]:
    return (layer.get("annotations") or {}).get(key)


def _report(registry: Registry, root: Path, name: str, labels: List[str]) -> None:
    """Report the outcome to the registry; failures are ignored."""
    if not name:
        return
    state = json.dumps({**read_state(root), "device": name, "labels": labels}).encode()
    try:
        config = {"mediaType": EMPTY, **registry.put_blob(b"{}")}
        layer = {"mediaType": STATE_TYPE, **registry.put_blob(state), "annotations": {TITLE: STATE_FILE}}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": STATE_TYPE, "config": config}
        registry.put_manifest(f"{registry.tag}-device-{name}", {**manifest, "layers": [layer]})
    except DeviceError:
        return
