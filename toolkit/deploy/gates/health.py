"""Checks of a release on a device: integrity, golden samples, health of its service."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.deploy import commands, signature_policy
from toolkit.errors import FleetError
from toolkit.fleet import Shell

_TIMEOUT_S = 600.0
"""A Neural Compute Stick takes minutes to load a large network."""


def check_integrity(device: Device, shell: Shell, release: str, result: Mapping[str, Any] | None = None) -> None:
    """Check all digests, and the signature if the device requires one; `result` is that of a verification just made.

    Raises:
        FleetError: names what is wrong, by file; or the inventory requires a signature and the device checks none.
    """
    result = result or _ask(device, shell, commands.verify(device, release))
    if not result["ok"]:
        bad = "; ".join(result.get("problems", ()))
        raise _failed(device, result, bad, "the device refuses the release", "deploy it again, whole and signed")
    signature_policy.verify_signature_checked(device, result)


def check_golden(device: Device, shell: Shell, release: str) -> Mapping[str, Any]:
    """Check the golden samples and return what was measured.

    Raises:
        FleetError: its answers are further from the recorded ones than the bundle's tolerance.
    """
    result = _ask(device, shell, commands.golden(device, release))
    if not result["ok"]:
        measured = f"max_abs {result.get('max_abs')} is over the tolerance {result.get('tolerance')}"
        remedy = "compare OpenVINO's version there with the bundle's" + _by_hand(device, release)
        raise _failed(device, result, measured, "golden check failed", remedy)
    return result


def check_health(device: Device, shell: Shell, release: str, seconds: float, patience_s: float) -> str:
    """Check that the service becomes healthy and stays so for `seconds`; return its message.

    Raises:
        FleetError: it does not; says what it is instead.
    """
    result = _ask(device, shell, commands.health(device, release, seconds, patience_s))
    if not result["ok"]:
        remedy = f"see its log: toolkit fleet logs --limit {device.name}"
        raise _failed(device, result, str(result.get("message")), "the service is not well", remedy)
    return str(result["message"])


def restart(device: Device, shell: Shell) -> str | None:
    """Restart the service on the current release; return what was restarted, None if there is no service.

    Raises:
        FleetError: it could not be restarted.
    """
    user = device.user or "the user"
    remedy = f"let {user} run systemctl restart {commands.service(device)} by sudo without a password, or set "
    remedy += "ansible_become_password in the inventory"
    password = b"" if device.become_password is None else f"{device.become_password}\n".encode()
    done = shell.run(commands.restart(device), stdin=password).check(device, "restarting the service", remedy)
    return None if done.stdout.strip().endswith("none") else done.stdout.strip().rpartition("\n")[2]


def _ask(device: Device, shell: Shell, argv: Sequence[str]) -> dict[str, Any]:
    """Return the JSON document that the device code prints."""
    answer = shell.run(argv, timeout=_TIMEOUT_S)
    try:
        result: dict[str, Any] = json.loads(answer.stdout)
    except ValueError:
        output = "; ".join(answer.stderr.strip().splitlines()[-2:])
        what = f"the device code gave no answer (exit code {answer.code}): {output}"
        raise FleetError(what, where=device.name, remedy="run `toolkit fleet probe` to see what is missing") from None
    return result


def _failed(device: Device, result: Mapping[str, Any], measured: str, what: str, remedy: str) -> FleetError:
    """Return the device code's own error if it has one, else what it measured."""
    error = result.get("error") or {}
    why = ": ".join(part for part in (error.get("where"), error.get("what")) if part) or measured
    return FleetError(f"{what}: {why}", where=device.name, remedy=error.get("remedy") or remedy)


def _by_hand(device: Device, release: str) -> str:
    """Return the command to try by hand on a device without containers."""
    folder = commands.release_folder(device, release)
    return "" if device.container_image else f"; by hand: cd {folder} && {device.python} -B -m device golden {folder}"
