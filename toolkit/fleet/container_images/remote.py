"""Container images on a device: inspect, send or pull, prune. Uses the docker command as the deploying user.

inspect_image   the engine, and its digest of the container image: one round trip
ensure_image    sends the layers that the device's store lacks, then `docker load`; or the device pulls it, by digest
prune_images    removes container images that no release names
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.artifacts.fleet import Device
from toolkit.device import layout
from toolkit.errors import FleetError, Problem
from toolkit.fleet.container_images.local import ARCHITECTURES, SENT, ContainerImage, PlatformImage
from toolkit.fleet.ssh.shell import Shell
from toolkit.fleet.transfer import diff, staging
from toolkit.fleet.transfer.staging import TransferOptions
from toolkit.progress import format_bytes

_TIMEOUT_S = 1800.0
"""An old card takes its time to unpack layers, a thin line to pull them."""
_PROVISION = "run ansible/provision-pi.yml: its role container_engine installs one, and lets its users use it"

STATE = r"""
if ! command -v docker >/dev/null 2>&1; then echo "no docker command is there"; exit; fi
if ! said=$(docker version --format '{{.Server.Version}}' 2>&1); then echo "$said" | tail -n 1; exit; fi
echo "engine $said"
docker image inspect --format '{{.Id}} {{.Architecture}}' "$1" 2>/dev/null || echo absent
"""
LOAD = r"""
set -e
cd "$1"
tar -cf - . | docker load --quiet
"""
TIDY = rf"""
cd "$1" || exit 0
for manifest in {layout.CONTAINER_IMAGES}/*/{layout.MANIFEST}; do
  reference=$(sed -n 's/.*"RepoTags": *\["\({SENT}:[0-9a-f]*\)".*/\1/p' "$manifest" 2>/dev/null)
  if [ -z "$reference" ] || grep -qxF "$reference" {layout.RELEASES}/*/{layout.CONTAINER_IMAGE} 2>/dev/null; then continue; fi
  folder=${{manifest%/*}}
  docker image rm "$reference" >/dev/null 2>&1
  chmod -R u+w "$folder" && rm -rf "$folder" "{layout.CONTAINER_IMAGES}/.${{folder##*/}}.sums"
done
exit 0
"""


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """What a device's engine reports about a container image."""

    error: str = ""
    """Why there is no usable engine; empty if there is one."""
    id: str = ""
    """Empty if the container image is missing."""
    architecture: str = ""


@dataclass(frozen=True, slots=True)
class MissingImage:
    """A container image that a device does not have yet."""

    name: str
    send_bytes: int
    """How much of it has to be sent; 0 if the device pulls it."""

    @property
    def description(self) -> str:
        """What has to be done, for a plan."""
        return f"{self.name}, {format_bytes(self.send_bytes)}" if self.send_bytes else f"pull {self.name}"


def inspect_image(device: Device, shell: Shell, container_image: ContainerImage) -> RemoteImage:
    """Inspect a container image; changes nothing."""
    return parse(
        shell.run(["/bin/sh", "-c", STATE, "sh", container_image.reference]).check(device, "asking its engine").stdout
    )


def parse(output: str) -> RemoteImage:
    """Parse the output of STATE."""
    first, _, rest = output.partition("\n")
    if not first.startswith("engine "):
        return RemoteImage(error=first.strip() or "its engine does not answer")
    identity, _, architecture = rest.strip().partition(" ")
    return RemoteImage() if identity == "absent" else RemoteImage(id=identity, architecture=architecture)


def is_there(container_image: ContainerImage, result: RemoteImage) -> bool:
    """Return whether the engine has exactly this image; it verifies itself what it pulls by digest."""
    variant = container_image.variants.get(result.architecture)
    return bool(result.id) and (container_image.is_pulled or (variant is not None and result.id in variant.ids))


def problems(device: Device, container_image: ContainerImage, result: RemoteImage, machine: str) -> Iterator[Problem]:
    """Yield what keeps the device from running it; checked before anything is sent."""
    if result.error:
        yield Problem(f"no container engine for {device.user or 'the user'}: {result.error}", device.name, _PROVISION)
    own = ARCHITECTURES.get(machine, machine)
    had = {result.architecture} if container_image.is_pulled and result.id else set(container_image.variants)
    if had and own not in had:
        what = f"{container_image.name} is made for {' and '.join(sorted(had))}, and the device is {machine} ({own})"
        yield Problem(what, device.name, "build it for that as well (toolkit build runner-cross)")


def require_runnable(device: Device, shell: Shell, container_image: ContainerImage, machine: str) -> RemoteImage:
    """Inspect a container image that must be able to run on the device.

    Raises:
        FleetError: there is no engine that the user may use, or the container image is for other machines.
    """
    result = inspect_image(device, shell, container_image)
    if wrong := tuple(problems(device, container_image, result, machine)):
        raise FleetError.from_problems(wrong)
    return result


def bytes_to_send(device: Device, shell: Shell, container_image: ContainerImage, machine: str) -> int:
    """Return how many bytes the device lacks; 0 if it pulls the image."""
    if container_image.is_pulled:
        return 0
    tree = _variant(device, container_image, machine).tree
    known = staging.read_remote_state(shell, device, tree, f"{layout.CONTAINER_IMAGES}/{tree.digest}")
    diff.check_room(device, diff.missing_files(tree, known), known)
    return sum(chunk.size_bytes for chunk in diff.missing_chunks(tree, known))


def ensure_image(
    device: Device, shell: Shell, container_image: ContainerImage, machine: str, transfer: TransferOptions | None = None
) -> int:
    """Send or pull the image, and return how many bytes were sent. After a cut, the same call resumes.

    Raises:
        FleetError: nothing was sent: it cannot run there; or it could not be sent, pulled or loaded, or is another than was asked for.
    """
    sent = 0
    if is_there(container_image, require_runnable(device, shell, container_image, machine)):
        return sent
    if container_image.is_pulled:
        remedy = f"try it there: docker pull {container_image.reference}"
        _run(
            shell,
            device,
            ["docker", "pull", "--quiet", container_image.reference],
            "pulling the container image",
            remedy,
        )
    else:
        tree, place = (
            (variant := _variant(device, container_image, machine)).tree,
            f"{layout.CONTAINER_IMAGES}/{variant.tree.digest}",
        )
        sent = staging.stage(
            shell, device, tree, place, transfer=TransferOptions(transfer.bandwidth) if transfer else None
        )
        argv = ["/bin/sh", "-c", LOAD, "sh", f"{device.root}/{place}"]
        _run(
            shell,
            device,
            argv,
            "loading the container image",
            "make room where its engine keeps container images: docker system df",
        )
    result = require_runnable(device, shell, container_image, machine)
    if not is_there(container_image, result):
        what = f"its engine has another container image than {container_image.reference}: {result.id or 'none'}"
        raise FleetError(what, where=device.name, remedy="run the command again; see `docker image ls` there")
    return sent


def prune_images(device: Device, shell: Shell) -> None:
    """Remove images sent for releases that no longer exist; images in use stay."""
    shell.run(["/bin/sh", "-c", TIDY, "sh", device.root], timeout=_TIMEOUT_S)


def _variant(device: Device, container_image: ContainerImage, machine: str) -> PlatformImage:
    result = container_image.variants.get(ARCHITECTURES.get(machine, ""))
    if result is None:
        raise FleetError.from_problems(list(problems(device, container_image, RemoteImage(), machine)))
    return result


def _run(shell: Shell, device: Device, argv: list[str], doing: str, remedy: str) -> None:
    shell.run(argv, timeout=_TIMEOUT_S).check(device, doing, remedy)
