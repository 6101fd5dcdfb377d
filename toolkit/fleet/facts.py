"""The facts of a device, from the device code's probe, which is sent on stdin, so that it also works without a release.

`toolkit/device/probe.py` imports none of its neighbors and runs from stdin. If its interpreter is missing, a few
lines of sh report what is installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.device.layout import CONTAINER_IMAGE, CURRENT, PREVIOUS
from toolkit.device.runtime.accelerators import AUTO, CPU, find_accelerator, kind_of, name_kind
from toolkit.errors import FleetError, Problem
from toolkit.fleet import device_command
from toolkit.fleet.container_images import remote
from toolkit.fleet.container_images.local import ContainerImage
from toolkit.fleet.container_images.remote import MissingImage
from toolkit.fleet.pool import FleetResult, fan_out
from toolkit.fleet.ssh.connection import connect
from toolkit.fleet.ssh.shell import Shell
from toolkit.fleet.transfer.tree import DEVICE_CODE
from toolkit.progress import Progress

PROBE = DEVICE_CODE / "probe.py"
PROVISION = "run ansible/provision-pi.yml, or set toolkit_python in the inventory"

PROBE_SCRIPT = rf"""
python=$1 root=$2
if command -v "$python" >/dev/null 2>&1; then exec "$python" -B - --root "$root"; fi
place=$root
while [ ! -d "$place" ]; do place=$(dirname "$place"); done
echo "python ="
echo "machine = $(uname -m)"
echo "kernel = $(uname -r)"
echo "root = $root"
echo "free = $(stat -f -c '%a %S' "$place")"
echo "current = $(readlink "$root/{CURRENT}")"
echo "previous = $(readlink "$root/{PREVIOUS}")"
echo "other_python = $(command -v python3) $(python3 -V 2>/dev/null)"
"""


def probe(device: Device, shell: Shell, code: Path = PROBE) -> DeviceFacts:
    """Return the facts of a device, in one round trip; nothing is left on it.

    Raises:
        FleetError: unreachable, or its interpreter is there and does not work.
    """
    argv = ["/bin/sh", "-c", PROBE_SCRIPT, "sh", device.python, device.root]
    answer = shell.run(argv, stdin=code.read_bytes())
    output = answer.check(device, "probing", f"try by hand: {device.python} -V; {PROVISION}").stdout
    if output.startswith("python ="):
        return parse_facts(device, _without_python(output))
    try:
        return parse_facts(device, json.loads(output))
    except (ValueError, KeyError) as error:
        what = f"its probe answered something else than facts: {output[:200]!r} ({error})"
        raise FleetError(what, where=device.name, remedy=PROVISION) from None


def probe_all(
    devices: Sequence[Device], forks: int, *, progress: Progress | None = None, title: str = "probing"
) -> FleetResult[DeviceFacts]:
    """Return the facts of each device that answers."""

    def connect_and_probe(device: Device) -> DeviceFacts:
        with connect(device) as shell:
            return probe(device, shell)

    return fan_out(devices, connect_and_probe, forks, progress=progress, title=title)


def probe_in_image(
    facts: DeviceFacts, device: Device, shell: Shell, container_image: str, code: Path = PROBE
) -> DeviceFacts:
    """Return the facts of a device with those of a container image of its engine.

    Raises:
        FleetError: the container image does not run there, or has no Python.
    """
    answer = shell.run(device_command.probe(device, container_image), stdin=code.read_bytes())
    values = json.loads(
        answer.check(device, f"probing in {container_image}", "try it there: toolkit-container probe").stdout
    )
    brought = (
        "accelerators",
        *(f"{name}{end}" for name in ("numpy", "opencv", "openvino", "litert") for end in ("", "_error")),
    )
    return parse_facts(device, {**facts.details, **{name: values.get(name) for name in brought}})


def device_kind(device: Device, facts: DeviceFacts) -> str:
    """Return the processor and the accelerator, on which the fastest variant of a model depends: "Cortex-A76, CPU"."""
    return name_kind(str(facts.details.get("processor") or facts.machine), device.accelerator)


def probe_current(device: Device, shell: Shell) -> DeviceFacts:
    """Return the facts of a device, with those of its current release's container image, if there is one."""
    facts = probe(device, shell)
    container_image = shell.run(["cat", f"{device.root}/{CURRENT}/{CONTAINER_IMAGE}"]).stdout.strip()
    return probe_in_image(facts, device, shell, container_image) if container_image else facts


def runtime_facts(
    device: Device, shell: Shell, container_image: ContainerImage | None
) -> tuple[DeviceFacts, MissingImage | None]:
    """Return the facts of the environment in which a release would run, and the container image that is missing for it.

    Raises:
        FleetError: unreachable, no usable container engine, no room, or a container image for another architecture.
    """
    facts = probe(device, shell)
    if container_image is None:
        return facts, None
    if remote.is_there(container_image, remote.require_runnable(device, shell, container_image, facts.machine)):
        return probe_in_image(facts, device, shell, container_image.reference), None
    size = remote.bytes_to_send(device, shell, container_image, facts.machine) if facts.python else 0
    return facts, MissingImage(container_image.name, size)


def parse_facts(device: Device, values: Mapping[str, Any]) -> DeviceFacts:
    """Return the probe's JSON as facts."""
    return DeviceFacts(
        device=device.name,
        machine=values["machine"],
        python=values["python"] or "",
        openvino=values["openvino"],
        accelerators=tuple(values["accelerators"]),
        free_bytes=values["free_bytes"],
        current=values["current"],
        previous=values["previous"],
        releases=tuple(values["releases"]),
        details=dict(values),
    )


"""The OpenVINO versions that do, or that did and may lack the plugin."""


def missing_requirements(device: Device, facts: DeviceFacts, *, in_container: bool = False) -> tuple[Problem, ...]:
    """Return what keeps the device from running a bundle; what a container image lacks is known once it was probed."""
    if not facts.python:
        other = str(facts.details.get("other_python") or "no Python at all")
        return (Problem(f"toolkit_python not found: {device.python} (it has: {other})", device.name, PROVISION),)
    if device.container_image and not in_container:
        return ()
    problems = []
    for name, what in (("openvino", "OpenVINO"), ("numpy", "NumPy"), ("opencv", "OpenCV")):
        if facts.details.get(name) is None:
            why = facts.details.get(f"{name}_error") or "not found"
            problems.append(
                Problem(
                    f"{device.container_image or device.python} cannot import {what}: {why}", device.name, PROVISION
                )
            )
    if facts.openvino is not None and not _has(facts, device.accelerator):
        accelerator = find_accelerator(device.accelerator)
        seen = ", ".join(facts.accelerators) or "none"
        remedy = f"connect the {accelerator.label} and check its udev rule, or change toolkit_accelerator"
        if not facts.openvino.startswith(accelerator.openvino):
            remedy = f"OpenVINO {facts.openvino.partition('-')[0]} does not support it: {PROVISION}"
        problems.append(Problem(f"OpenVINO sees no {device.accelerator} (it sees: {seen})", device.name, remedy))
    return tuple(problems)


def _has(facts: DeviceFacts, accelerator: str) -> bool:
    """Return whether a device has the accelerator; AUTO falls back to the CPU."""
    accelerator = CPU.name if accelerator == AUTO else accelerator
    return any(accelerator in {name, kind_of(name)} for name in facts.accelerators)


def _without_python(output: str) -> dict[str, Any]:
    """Parse the facts that sh prints, one `name = value` per line."""
    values = {name: value.strip() for name, _, value in (line.partition(" = ") for line in output.splitlines())}
    blocks, block_bytes = values["free"].split()
    return {
        "machine": values["machine"],
        "kernel": values["kernel"],
        "root": values["root"],
        "python": None,
        "other_python": values["other_python"],
        "openvino": None,
        "accelerators": [],
        "free_bytes": int(blocks) * int(block_bytes),
        "current": values["current"].rpartition("/")[2] or None,
        "previous": values["previous"].rpartition("/")[2] or None,
        "releases": [],
    }
