"""Resolve the argument BUNDLE: the path of a bundle's folder, a name, or the first digits of a digest."""

from __future__ import annotations

from pathlib import Path

from toolkit import hashing
from toolkit.artifacts.bundle import Bundle
from toolkit.bundle.verify import verify_bundle
from toolkit.device.layout import MANIFEST, model_file
from toolkit.errors import UsageError
from toolkit.store import Store
from toolkit.workspace import Workspace

MIN_DIGITS = 4
"""A shorter prefix of a digest is not accepted: it may just as well be a name."""


def load_bundle(bundle: Path | str, workspace: Workspace, store: Store) -> Bundle:
    """Return the bundle that the argument names, after verifying its files against its manifest.

    Raises:
        UsageError: no bundle matches, or several do.
        BundleError: its bytes differ from its manifest.
    """
    return describe_bundle(bundle_folder(bundle, workspace, store), workspace)


def bundle_folder(bundle: Path | str, workspace: Workspace, store: Store) -> Path:
    """Return the folder of the bundle that the argument names, without verifying it.

    Of several bundles with the same name, the one recorded last counts, even if the clock was set back.

    Raises:
        UsageError: no bundle matches, or several do.
    """
    if _is_bundle(Path(bundle)):
        return Path(bundle)
    matches = _matches(str(bundle), store)
    if len(matches) == 1:
        return workspace.absolute(matches[0].path)
    known = ", ".join(f"{each.name} ({each.short})" for each in matches or store.all(Bundle)) or "none yet"
    raise UsageError(
        "matches several bundles" if matches else "is not a bundle's folder, name or digest",
        where=str(bundle),
        remedy=f"bundles in {workspace.root}: {known}",
    )


def has_bundle(bundle: str, store: Store) -> bool:
    """Return whether the argument names at least one bundle."""
    return _is_bundle(Path(bundle)) or bool(_matches(bundle, store))


def describe_bundle(folder: Path, workspace: Workspace) -> Bundle:
    """Verify a bundle's folder and return it as an artifact; its path is absolute if it lies outside the workspace."""
    manifest = verify_bundle(folder)
    inside = folder.resolve().is_relative_to(workspace.root.resolve())
    return Bundle(
        digest=hashing.sha256_file(folder / MANIFEST),
        parent=manifest["lineage"]["ir"],
        name=manifest["name"],
        precision=manifest["precision"],
        target=manifest["target"],
        path=workspace.relative(folder) if inside else str(folder.resolve()),
        size_bytes=(folder / MANIFEST).stat().st_size + sum(file["size_bytes"] for file in manifest["files"].values()),
    )


def _is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or model_file(folder).is_file()


def _matches(text: str, store: Store) -> tuple[Bundle, ...]:
    named = tuple(bundle for bundle in store.all(Bundle) if bundle.name == text)[-1:]
    return named or (store.starting_with(Bundle, text) if len(text) >= MIN_DIGITS else ())
