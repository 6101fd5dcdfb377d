"""The commands that run a release's code: by the device's interpreter, or in the container image that the release names.

What decides is the release's file `container-image`: the same words mean the same on every device, and going back to an earlier
release is going back to its image. In there, the release lies at its own place, read-only, as do images; the code that
runs is the release's, the container image gives it an interpreter, OpenVINO, OpenCV and NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.artifacts.fleet import Device

CONTAINER_IMAGE = "container-image"
"""The file of a release that names its image."""

CONTAINER = r"""
in_container() { # IMAGE ROOT FOLDER NETWORK ACCELERATOR WORD…: its python3 in FOLDER, by whoever asks, who may do nothing else
  image=$1 root=$2 folder=$3 network=$4 accelerator=$5
  shift 5
  set -- --entrypoint python3 "$image" "$@"
  if [ -n "$folder" ]; then set -- -v "$(pwd -P):$folder:ro" -w "$folder" "$@"; fi
  if [ -d "$root/images" ]; then set -- -v "$root/images:$root/images:ro" "$@"; fi
  if [ -e "$root/bench.lock" ]; then set -- -v "$root/bench.lock:$root/bench.lock" "$@"; fi
  if [ "$accelerator" != CPU ] && [ -d /dev/bus/usb ]; then
    set -- -v /dev/bus/usb:/dev/bus/usb --device-cgroup-rule 'c 189:* rmw' "$@"
    for group in $(getent group users | cut -d: -f3); do set -- --group-add "$group" "$@"; done
  fi
  set -- --user "$(id -u):$(id -g)" --cap-drop ALL --security-opt no-new-privileges "$@"
  exec docker run --rm --interactive --pull never --read-only --tmpfs /tmp --env HOME=/tmp --network "$network" "$@"
}
"""
RUN = rf"""
{CONTAINER}
root=$1 folder=$2 network=$3 accelerator=$4
cd "$folder" || exit 1
shift 4
if [ ! -s {CONTAINER_IMAGE} ]; then exec "$@"; fi
shift # the machine's interpreter
{{ : >> "$root/bench.lock"; }} 2>/dev/null
in_container "$(cat {CONTAINER_IMAGE})" "$root" "$folder" "$network" "$accelerator" "$@"
"""
"""$1 is ROOT, $2 the release, $3 the container's network, $4 the accelerator; then the words for a machine without containers."""
BESIDE = 'cd "$1" && shift && exec "$@"'


def in_runtime(device: Device, folder: str, *argv: str, network: str = "none") -> list[str]:
    """Return `python -m device ARGS` in a release's folder, in the release's container image if it names one."""
    own = [device.python, "-B", "-m", "device", *argv]
    return ["/bin/sh", "-c", RUN, "sh", device.root, folder, network, device.accelerator, *own]


def on_host(device: Device, folder: str, *argv: str) -> list[str]:
    """Return the same by the machine's own interpreter, for commands that need the standard library alone."""
    return ["/bin/sh", "-c", BESIDE, "sh", folder, device.python, "-B", "-S", "-m", "device", *argv]


def probe(device: Device, container_image: str) -> Sequence[str]:
    """Return the command that runs the probe from stdin in a container image."""
    script = rf"""{CONTAINER} in_container "$1" "$2" '' none "$3" -B - --root "$2" """
    return ["/bin/sh", "-c", script, "sh", container_image, device.root, device.accelerator]
