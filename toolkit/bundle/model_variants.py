"""Variants of one trained model: its bundles in each precision, for each runtime; and which of them a device is sent.

toolkit convert --precision … --target …   one bundle for each variant
toolkit bench --choose                     VariantChoice for each kind of device
toolkit deploy --fastest                   each device gets the fastest variant that it can run
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import compat
from toolkit.artifacts.bench import VariantChoice, VariantResult
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.device.layout import MANIFEST
from toolkit.errors import Problem, UsageError
from toolkit.fleet.facts import device_kind, probe_all
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

Fits = Callable[[Mapping[str, Any], Device, DeviceFacts], Iterable[Problem]]
"""Yields why a device cannot run the bundle with a manifest; `toolkit.deploy.compatibility.incompatibilities`."""


@dataclass(frozen=True, slots=True)
class SelectedVariant:
    """The bundle that a device is sent, and why."""

    folder: Path
    why: str

    @property
    def name(self) -> str:
        """The bundle's name."""
        return str(manifest_of(self.folder).get("name", self.folder.name))


def manifest_of(folder: Path) -> Mapping[str, Any]:
    """Return a bundle's manifest, unverified; empty if it cannot be read."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def trained_model(folder: Path) -> str:
    """Return the digest of the trained model that a bundle was made of."""
    return str(manifest_of(folder).get("lineage", {}).get("model", ""))


def variants_of(bundle: Bundle, workspace: Workspace, store: Store) -> tuple[Bundle, ...]:
    """Return the newest bundle of each variant of the same trained model, `bundle` itself among them."""
    model = trained_model(workspace.absolute(bundle.path))
    variants = {
        each.name: each for each in store.all(Bundle) if model and trained_model(workspace.absolute(each.path)) == model
    }
    return tuple({**variants, bundle.name: bundle}.values())


def why_not(manifest: Mapping[str, Any], device: Device, facts: DeviceFacts, fits: Fits) -> str:
    """Return why a device cannot run a variant; empty if it can."""
    reasons = [problem.what for problem in fits(manifest, device, facts)]
    target = compat.known().targets.get(str(manifest.get("target")))
    if not reasons and target is not None and target.runtime == "litert" and not facts.details.get("litert"):
        reasons = ["the device has no LiteRT"]
    return "; ".join(reasons)


def choices_by_kind(bundle: Path, store: Store) -> dict[str, VariantChoice]:
    """Return what was measured of the variants of a bundle's model, by kind of device.

    Raises:
        UsageError: no kind of device was measured.
    """
    choices = {choice.kind: choice for choice in store.all(VariantChoice, parent=trained_model(bundle))}
    if not choices:
        raise UsageError(
            "the variants of this model were not measured on any kind of device",
            where=str(bundle),
            remedy="toolkit bench BUNDLE --choose --fleet",
        )
    return choices


def fastest_variants(
    bundle: Path,
    devices: Sequence[Device],
    fits: Fits,
    *,
    workspace: Workspace,
    store: Store,
    forks: int,
    progress: Progress,
) -> dict[str, SelectedVariant]:
    """Return the variant of the bundle's model for each device, by its name.

    It is the fastest measured one that the device can run. A device of a kind that was not measured gets `bundle` itself;
    one that cannot be reached has none.

    Raises:
        UsageError: no kind of device was measured.
    """
    choices = choices_by_kind(bundle, store)
    folders = {each.digest: workspace.absolute(each.path) for each in store.all(Bundle)}

    def select(device: Device, facts: DeviceFacts) -> SelectedVariant:
        kind = device_kind(device, facts)
        choice = choices.get(kind)
        return (choice and _fastest(choice, folders, device, facts, fits)) or SelectedVariant(
            bundle,
            f"no variant was measured on {kind}" if choice is None else f"no variant measured on {kind} runs here",
        )

    probed = probe_all(devices, forks, progress=progress, title="choosing variants")
    return {device.name: select(device, facts) for device, facts in probed.ok.items()}


def eligible_variants(choice: VariantChoice) -> list[VariantResult]:
    """Return the variants that devices of a kind may be sent: the chosen one first, then the fastest of the others."""
    eligible = [variant for variant in choice.variants if not variant.excluded]
    return sorted(eligible, key=lambda variant: variant.bundle != choice.bundle)


def _fastest(
    choice: VariantChoice, folders: Mapping[str, Path], device: Device, facts: DeviceFacts, fits: Fits
) -> SelectedVariant | None:
    """Return the chosen variant, else the next fastest eligible one that the device can run."""
    for variant in eligible_variants(choice):
        folder = folders.get(variant.bundle)
        manifest = manifest_of(folder) if folder else {}
        if folder and manifest and not why_not(manifest, device, facts, fits):
            chosen = variant.bundle == choice.bundle
            why = choice.reason if chosen else "the fastest one that this device can run"
            return SelectedVariant(folder, f"{choice.kind}: {why}")
    return None
