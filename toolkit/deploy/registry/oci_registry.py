"""OCI registry client of the controller: the devices' client, with publishing and reading reports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from toolkit import hashing
from toolkit.deploy.registry.docker_credentials import docker_login
from toolkit.device.errors import DeviceError
from toolkit.device.release.http_client import origin_of
from toolkit.device.release.oci_registry import MANIFEST, Registry, oci_digest, parse_reference
from toolkit.device.release.pull import OWN, TITLE
from toolkit.errors import FleetError, UsageError

_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_MAX_PAGES = 1000
RELEASE_ANNOTATION = f"{OWN}.release"
"""Annotation with the digest of the release that a manifest holds."""
VARIANTS_ANNOTATION = f"{OWN}.variants"
"""Annotation with the digests of all releases that a manifest holds, if there are several."""


class PublishingRegistry(Registry):
    """A registry to publish to."""

    def has_blob(self, digest: str) -> bool:
        """Return whether the repository has these bytes."""
        return self._has(digest)

    def tagged(self, tag: str) -> tuple[str, dict[str, Any]]:
        """Return the digest and the manifest of a tag; "" and {} if there is none, or if it is not an object."""
        answer = self._ask("GET", f"manifests/{tag}", headers={"Accept": MANIFEST}, accept=(200, 404))
        try:
            manifest = json.loads(answer.body) if answer.status == 200 else None
        except (ValueError, RecursionError):
            manifest = None
        return (oci_digest(answer.body), manifest) if isinstance(manifest, dict) else ("", {})

    def document(self, manifest: dict[str, Any], name: str) -> bytes:
        """Return a document of the release in this manifest; empty if it is missing or cannot be read."""
        for layer in layers_of(manifest):
            if annotations_of(layer).get(TITLE) == name:
                try:
                    return self.blob(str(layer.get("digest")))
                except DeviceError:
                    return b""
        return b""

    def publish_manifest(self, manifest: dict[str, Any]) -> str:
        """Make it what the channel holds, and return its digest."""
        content = hashing.canonical_json(manifest)
        self._ask("PUT", f"manifests/{self.tag}", content, {"Content-Type": MANIFEST}, accept=(201,))
        return oci_digest(content)

    def tags(self) -> list[str]:
        """Return all tags of the repository.

        Raises:
            DeviceError: the registry's answer is not a list of tags.
        """
        tags: list[str] = []
        path: str | None = "tags/list"
        for _ in range(_MAX_PAGES):
            if path is None:
                break
            answer = self._ask("GET", path)
            try:
                page = json.loads(answer.body)["tags"] or []
            except (ValueError, KeyError, TypeError, RecursionError):
                raise DeviceError("sends no list of tags", where=self.where) from None
            tags += [tag for tag in page if isinstance(tag, str)]
            path = self._next_page(answer.headers.get("link", ""))
        return tags

    def _next_page(self, link: str) -> str | None:
        """Return the address of the next page, if it is the registry's own."""
        match = _NEXT.search(link)
        url = urljoin(self.base_url, match[1]) if match else ""
        return url if url and origin_of(url) == origin_of(self.base_url) else None


def layers_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the layers of a manifest, whatever it is."""
    layers = manifest.get("layers")
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def annotations_of(value: dict[str, Any]) -> dict[str, Any]:
    """Return the annotations of a manifest or a layer, whatever it is."""
    annotations = value.get("annotations")
    return annotations if isinstance(annotations, dict) else {}


@contextmanager
def open_registry(
    channel: str, credentials: Path | None = None, *, plain: bool = False
) -> Iterator[PublishingRegistry]:
    """The registry of HOST[:PORT]/NAME:CHANNEL for the length of a with-block.

    Without a file of credentials, the login is the one of `docker login`, if there is one.

    Raises:
        UsageError: the channel or the file of the credentials is not valid.
        ConfigurationError: the login that docker stored cannot be read.
        FleetError: the registry cannot be reached, or refuses.
    """
    try:
        parsed = parse_reference(channel, credentials, plain=plain)
    except DeviceError as error:
        raise UsageError(error.what, where=error.where, remedy=error.remedy) from None
    login = parsed.credentials if credentials else docker_login(parsed.host)
    registry = PublishingRegistry(parsed.host, parsed.name, parsed.tag, login, parsed.plain, parsed.token_services)
    try:
        yield registry
    except DeviceError as error:
        remedy = "check that it runs; what arrived is kept" if "does not answer" in error.what else error.remedy
        raise FleetError(error.what, where=error.where, remedy=remedy) from None
    finally:
        registry.close()
