"""The signature policy of the inventory: `toolkit_require_signature: true` on a device or a group.

The device itself decides whether it trusts a signature, by the allowed_signers in its ROOT. If the policy requires one, an
unsigned bundle is not sent, and a device that would not verify signatures is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.device.layout import MANIFEST_SIGNATURE
from toolkit.errors import FleetError, Problem
from toolkit.fleet.transfer.tree import FileTree

REQUIRE = "toolkit_require_signature"


def requires_signature(device: Device) -> bool:
    """Return whether the inventory requires a signature for this device."""
    return str(device.variables.get(REQUIRE, False)).lower() in {"true", "yes", "1"}


def missing_signature(tree: FileTree, device: Device) -> Iterator[Problem]:
    """Yield a problem if the device requires a signature and the release has none."""
    if requires_signature(device) and all(file.path != MANIFEST_SIGNATURE for file in tree.files):
        yield Problem(
            f"the bundle is not signed, and {REQUIRE} is set",
            device.name,
            "sign it: `toolkit convert MODEL --sign KEY`",
        )


def verify_signature_checked(device: Device, result: Mapping[str, Any]) -> None:
    """Check that a device that requires signatures has checked this one; `result` is that of its `verify`.

    Raises:
        FleetError: it has no allowed_signers, so it would run any release.
    """
    signature = result.get("signature") or {}
    if requires_signature(device) and not signature.get("checked"):
        raise FleetError(
            f"{REQUIRE} is set, but the device checks no signature: {signature.get('message', 'its code is too old')}",
            where=device.name,
            remedy="name runner_allowed_signers in the inventory and run ansible/provision-pi.yml",
        )
