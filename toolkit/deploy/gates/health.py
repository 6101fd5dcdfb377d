"""Verdicts on the measurements of a device: integrity, golden samples, health of its service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.deploy import commands, signature_policy
from toolkit.errors import FleetError

Result = Mapping[str, Any]


def judge_integrity(device: Device, result: Result) -> None:
    """Judge all digests, and the signature if the device requires one.

    Raises:
        FleetError: names what is wrong, by file; or the inventory requires a signature and the device checks none.
    """
    if not result.get("ok"):
        bad = "; ".join(map(str, result.get("problems") or ()))
        raise failure(device, result, bad, "the device refuses the release", "deploy it again, complete and signed")
    signature_policy.verify_signature_checked(device, result)


def judge_golden(device: Device, release: str, result: Result) -> str:
    """Judge the golden samples; return the result as a message.

    Raises:
        FleetError: the outputs are further from the recorded ones than the bundle's tolerance.
    """
    if not result.get("ok"):
        measured = f"max_abs {result.get('max_abs')} is over the tolerance {result.get('tolerance')}"
        remedy = "compare OpenVINO's version there with the bundle's" + _by_hand(device, release)
        raise failure(device, result, measured, "golden check failed", remedy)
    return f"differs by {float(result['max_abs']):.1e}, {float(result['tolerance']):g} allowed"


def judge_health(device: Device, result: Result) -> str:
    """Judge the service's health; return its message.

    Raises:
        FleetError: it did not become healthy, or did not stay so; says what it is instead.
    """
    if not result.get("ok"):
        remedy = f"see its log: toolkit fleet logs --limit {device.name}"
        raise failure(device, result, str(result.get("message")), "the service is not healthy", remedy)
    return str(result.get("message"))


def failure(device: Device, result: Result, measured: str, what: str, remedy: str) -> FleetError:
    """Return the device code's own error if it has one, else what it measured."""
    error = result.get("error")
    known = error if isinstance(error, dict) else {}
    why = ": ".join(str(part) for part in (known.get("where"), known.get("what")) if part) or measured
    return FleetError(f"{what}: {why}", where=device.name, remedy=str(known.get("remedy") or remedy))


def _by_hand(device: Device, release: str) -> str:
    """Return the command to try by hand on a device without containers."""
    folder = commands.release_folder(device, release)
    return "" if device.container_image else f"; by hand: cd {folder} && {device.python} -B -m device golden {folder}"
