"""The bill of materials of a release (CycloneDX), and statements about vulnerabilities of its components (VEX).

    FOLDER/RELEASE.cdx.json     the model, the device code, and the packages that devices are locked to for the bundle's target
    FOLDER/RELEASE.vex.json     the statements of requirements/vex.toml about those packages

Neither depends on when or where it was written. What a device really has installed is `toolkit.fleet.installed_packages`.
"""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

import toolkit
from toolkit import compat, files, hashing
from toolkit.bundle.release import with_container_image
from toolkit.device.layout import DEVICE_CODE, MANIFEST
from toolkit.errors import ConfigurationError
from toolkit.fleet.transfer.tree import FileTree

SBOM, VEX = ".cdx.json", ".vex.json"
_CURRENT_LOCK = "device.txt"
"""The lock of devices that run no OpenVINO generation but LiteRT."""
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_NAMESPACE = uuid.UUID("6f1d3c52-94a0-4f0c-9a57-6a2f0b1e7a11")
Document = dict[str, Any]


class VexStatement(BaseModel):
    """What the toolkit's authors found out about a vulnerability of a package, in the words of CycloneDX."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    package: str
    versions: str
    """The versions that it concerns, as in requirements: "<2.1"."""
    state: Literal["resolved", "exploitable", "in_triage", "false_positive", "not_affected"]
    justification: (
        Literal[
            "code_not_present",
            "code_not_reachable",
            "requires_configuration",
            "requires_dependency",
            "requires_environment",
            "protected_by_compiler",
            "protected_at_runtime",
            "protected_at_perimeter",
            "protected_by_mitigating_control",
        ]
        | None
    ) = None
    detail: str = ""

    def concerns(self, name: str, version: str) -> bool:
        """Return whether it is about this version of this package."""
        same = canonicalize_name(self.package) == canonicalize_name(name)
        return same and SpecifierSet(self.versions).contains(version, prereleases=True)


def locks_folder() -> Path:
    """Return the folder of the locked requirements.

    Raises:
        MachineError: this installation has none.
    """
    return files.shipped_folder("requirements", _CURRENT_LOCK, "locked requirements")


def load_statements(path: Path) -> tuple[VexStatement, ...]:
    """Return the statements of a file like requirements/vex.toml.

    Raises:
        ConfigurationError: it is not such a file; names the statement and key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("statements", [])
        return TypeAdapter(tuple[VexStatement, ...]).validate_python(tables)
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigurationError(f"the file cannot be used: {error}", where=str(path)) from None


def write_bills(tree: FileTree, bundle: Path, folder: Path, *, container_image: str = "") -> None:
    """Write the bill of materials and the VEX document of a release to `folder`.

    With the reference of a `container_image`, those of the release that devices run in it.

    Raises:
        MachineError, ConfigurationError: the locks or the statements of this installation cannot be used.
    """
    locks = locks_folder()
    tree = with_container_image(tree, container_image) if container_image else tree
    bill = bill_of_materials(tree, json.loads((bundle / MANIFEST).read_bytes()), locks, container_image)
    documents = {SBOM: bill, VEX: vex_document(bill, load_statements(locks / "vex.toml"))}
    for ending, document in documents.items():
        with files.atomic_write(folder / f"{tree.digest}{ending}") as stream:
            stream.write(json.dumps(document, indent=1, sort_keys=True).encode())


def bill_of_materials(tree: FileTree, manifest: Mapping[str, Any], locks: Path, container_image: str = "") -> Document:
    """Return the CycloneDX document of a release; `manifest` is its bundle's."""
    code = hashing.sha256_json({one.path: one.sha256 for one in tree.files if one.path.startswith(f"{DEVICE_CODE}/")})
    parts = [
        _part("machine-learning-model", str(manifest["name"]), tree.parent[:12], tree.parent),
        _part("application", "edge-vision-toolkit-device", toolkit.__version__, code),
        *([_container_image(container_image)] if container_image else []),
        *_packages(str(manifest["target"]), locks),
    ]
    release = _part("application", f"release of {manifest['name']}", tree.digest[:12], tree.digest)
    relations = [{"ref": release["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]}]
    content = {"components": parts, "dependencies": relations}
    return _document(release, content)


def vex_document(bill: Mapping[str, Any], statements: Sequence[VexStatement]) -> Document:
    """Return the CycloneDX VEX document of the statements that concern a component of `bill`, to which it links."""
    link = f"{bill['serialNumber'].replace('urn:uuid:', 'urn:cdx:')}/{bill['version']}#"
    entries = [
        {
            "id": one.id,
            "analysis": {
                "state": one.state,
                **({"justification": one.justification} if one.justification else {}),
                **({"detail": one.detail} if one.detail else {}),
            },
            "affects": [{"ref": f"{link}{part['bom-ref']}"} for part in parts],
        }
        for one in statements
        if (parts := [part for part in bill["components"] if "purl" in part and one.concerns(*_named(part))])
    ]
    return _document(bill["metadata"]["component"], {"vulnerabilities": entries})


def locked_packages(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and version of the packages in a bill of materials."""
    return [_named(part) for part in document["components"] if "purl" in part]


def _named(part: Mapping[str, Any]) -> tuple[str, str]:
    return str(part["name"]), str(part["version"])


def _document(subject: Mapping[str, Any], content: Mapping[str, Any]) -> Document:
    """Return a CycloneDX document about `subject`, with a serial number that its content determines."""
    tool = {"type": "application", "name": "edge-vision-toolkit", "version": toolkit.__version__}
    body = {"metadata": {"tools": {"components": [tool]}, "component": subject}, **content}
    serial = uuid.uuid5(_NAMESPACE, hashing.sha256_json(body))
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1, **body}


def _part(kind: str, name: str, version: str, sha256: str) -> Document:
    hashes = [{"alg": "SHA-256", "content": sha256}]
    return {"type": kind, "bom-ref": f"{name}@{version}", "name": name, "version": version, "hashes": hashes}


def _container_image(reference: str) -> Document:
    """The container image by its reference, which ends in a digest; its own bill (`just sbom`) lists what is in it."""
    digest = reference.rpartition(":")[2]
    return _part("container", reference.removesuffix(f":{digest}").removesuffix("@sha256"), digest[:12], digest)


def _packages(target: str, locks: Path) -> Iterator[Document]:
    """Yield the locked packages for a target, each with the locks that it is in."""
    generations = [compat.known().generations[name] for name in compat.find_target(target).generations]
    held: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(generation.lock for generation in generations) or (_CURRENT_LOCK,):
        for project, version in _PINNED.findall((locks / name).read_text(encoding="utf-8")):
            held.setdefault((canonicalize_name(project), version), []).append(name)
    for generation in generations:
        if generation.source == "archive":
            held.setdefault(("openvino", generation.versions[1]), []).append(f"Intel's archive ({generation.name})")
    for (name, version), places in sorted(held.items()):
        purl = f"pkg:pypi/{name}@{version}"
        properties = [{"name": "edge-vision-toolkit:lock", "value": place} for place in places]
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "properties": properties,
        }
