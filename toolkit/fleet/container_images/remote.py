"""An image on a device: is it there, and what brings it there. Its engine is asked by the command docker, as whoever deploys.

look      the engine, and what it calls the image: one round trip; `looked` refuses what cannot run there
bring     sent: the layers that the device's store lacks, then `docker load`; or pulled by the device, by digest
tidy      images that no release names any more
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from toolkit.artifacts import Device
from toolkit.errors import FleetError, Problem
from toolkit.fleet.container_images.local import ARCHITECTURES, SENT, Image, Variant
from toolkit.fleet.ssh.shell import Shell
from toolkit.fleet.transfer import staging
from toolkit.fleet.transfer.staging import Sending

_TIMEOUT_S = 1800.0
"""An old card takes its time to unpack layers, a thin line to pull them."""
_PROVISION = "run ansible/provision-pi.yml: its role container_engine installs one, and lets its users use it"

LOOK = r"""
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
for manifest in images/*/manifest.json; do
  reference=$(sed -n 's/.*"RepoTags": *\["\({SENT}:[0-9a-f]*\)".*/\1/p' "$manifest" 2>/dev/null)
  if [ -z "$reference" ] || grep -qxF "$reference" releases/*/image 2>/dev/null; then continue; fi
  folder=${{manifest%/*}}
  docker image rm "$reference" >/dev/null 2>&1
  chmod -R u+w "$folder" && rm -rf "$folder" "images/.${{folder##*/}}.sums"
done
exit 0
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a device's engine says of an image."""

    error: str = ""
    """Why there is no engine to ask; empty where there is."""
    id: str = ""
    """Empty where the image is not there."""
    architecture: str = ""


def look(device: Device, shell: Shell, image: Image) -> Found:
    """Ask; changes nothing."""
    return parse(shell.run(["/bin/sh", "-c", LOOK, "sh", image.reference]).check(device, "asking its engine").stdout)


def parse(said: str) -> Found:
    """From what LOOK prints."""
    first, _, rest = said.partition("\n")
    if not first.startswith("engine "):
        return Found(error=first.strip() or "its engine does not answer")
    identity, _, architecture = rest.strip().partition(" ")
    return Found() if identity == "absent" else Found(id=identity, architecture=architecture)


def is_there(image: Image, found: Found) -> bool:
    """Whether the engine has these very bytes; what it has pulled by its digest, it has checked itself."""
    variant = image.variants.get(found.architecture)
    return bool(found.id) and (image.is_pulled or (variant is not None and found.id in variant.ids))


def problems(device: Device, image: Image, found: Found, machine: str) -> Iterator[Problem]:
    """What keeps the device from running it; asked before anything is sent."""
    if found.error:
        yield Problem(f"no container engine for {device.user or 'the user'}: {found.error}", device.name, _PROVISION)
    own = ARCHITECTURES.get(machine, machine)
    had = {found.architecture} if image.is_pulled and found.id else set(image.variants)
    if had and own not in had:
        what = f"{image.name} is made for {' and '.join(sorted(had))}, and the device is {machine} ({own})"
        yield Problem(what, device.name, "build it for that as well (in a checkout: just build runner-cross)")


def looked(device: Device, shell: Shell, image: Image, machine: str) -> Found:
    """What `look` finds.

    Raises:
        FleetError: there is no engine that the user may use, or the image is for other machines.
    """
    found = look(device, shell, image)
    if wrong := tuple(problems(device, image, found, machine)):
        raise FleetError.from_problems(wrong)
    return found


def bytes_to_send(device: Device, shell: Shell, image: Image, machine: str) -> int:
    """How much of it the device lacks; 0 where it pulls the image."""
    if image.is_pulled:
        return 0
    tree = _variant(device, image, machine).tree
    known = staging.survey(shell, device, tree, f"images/{tree.digest}")
    staging.check_room(device, staging.lacking_files(tree, known), known)
    return sum(piece.size_bytes for piece in staging.missing(tree, known))


def bring(device: Device, shell: Shell, image: Image, machine: str, sending: Sending | None = None) -> int:
    """Make the device's engine have it, and tell how many bytes were sent. A cut leaves what came, and the same goes on.

    Raises:
        FleetError: nothing was sent: it cannot run there; or it could not be sent, pulled or loaded, or is another than was asked for.
    """
    sent = 0
    if is_there(image, looked(device, shell, image, machine)):
        return sent
    if image.is_pulled:
        remedy = f"try it there: docker pull {image.reference}"
        _run(shell, device, ["docker", "pull", "--quiet", image.reference], "pulling the image", remedy)
    else:
        tree, place = (variant := _variant(device, image, machine)).tree, f"images/{variant.tree.digest}"
        sent = staging.stage(shell, device, tree, place, sending=Sending(sending.bandwidth) if sending else None)
        words = ["/bin/sh", "-c", LOAD, "sh", f"{device.root}/{place}"]
        _run(shell, device, words, "loading the image", "make room where its engine keeps images: docker system df")
    found = looked(device, shell, image, machine)
    if not is_there(image, found):
        what = f"its engine has another image than {image.reference}: {found.id or 'none'}"
        raise FleetError(what, where=device.name, remedy="run the command again; see `docker image ls` there")
    return sent


def tidy(device: Device, shell: Shell) -> None:
    """Remove what was sent for releases that are no more; an image that something uses stays."""
    shell.run(["/bin/sh", "-c", TIDY, "sh", device.root], timeout=_TIMEOUT_S)


def _variant(device: Device, image: Image, machine: str) -> Variant:
    found = image.variants.get(ARCHITECTURES.get(machine, ""))
    if found is None:
        raise FleetError.from_problems(list(problems(device, image, Found(), machine)))
    return found


def _run(shell: Shell, device: Device, words: list[str], doing: str, remedy: str) -> None:
    shell.run(words, timeout=_TIMEOUT_S).check(device, doing, remedy)
