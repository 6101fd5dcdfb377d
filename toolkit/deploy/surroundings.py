"""What a release would run in on a device: its own packages, or a container image's."""

from __future__ import annotations

from toolkit import fleet
from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.deploy.plan import Wanted
from toolkit.fleet import Shell
from toolkit.fleet.container_images import remote
from toolkit.fleet.container_images.local import ContainerImage


def surroundings(
    device: Device, shell: Shell, container_image: ContainerImage | None
) -> tuple[DeviceFacts, Wanted | None]:
    """What the device is, with what its container image brings along; and what it still lacks of that image. Changes nothing.

    Raises:
        FleetError: unreachable, no engine that it may use, no room, or a container image for other machines.
    """
    facts = fleet.probe(device, shell)
    if container_image is None:
        return facts, None
    if remote.is_there(container_image, remote.looked(device, shell, container_image, facts.machine)):
        return fleet.probe_in(facts, device, shell, container_image.reference), None
    return facts, Wanted(
        container_image.name, remote.bytes_to_send(device, shell, container_image, facts.machine) if facts.python else 0
    )
