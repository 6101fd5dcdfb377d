"""Run a release's own code: by the device's interpreter, or in the container image that the release names.

What decides is the release's file `container-image`. In a container, the release lies at its own place, read-only. Where
Ansible has installed the agent, a release without a container runs as the runner's user, which cannot write releases; see
`Runtime`.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from ..layout import BENCH_LOCK, CONTAINER_IMAGE, IMAGES
from .child import Children

CONTAINER = (
    rf"images={IMAGES} bench_lock={BENCH_LOCK}"
    r"""
in_container() { # IMAGE ROOT FOLDER NETWORK ACCELERATOR ARG…: its python3 in FOLDER, by the caller, without any capability
  image=$1 root=$2 folder=$3 network=$4 accelerator=$5
  shift 5
  set -- --entrypoint python3 "$image" "$@"
  if [ -n "$folder" ]; then set -- -v "$(pwd -P):$folder:ro" -w "$folder" "$@"; fi
  if [ -d "$root/$images" ]; then set -- -v "$root/$images:$root/$images:ro" "$@"; fi
  if [ -e "$root/$bench_lock" ]; then set -- -v "$root/$bench_lock:$root/$bench_lock" "$@"; fi
  if [ "$accelerator" != CPU ] && [ -d /dev/bus/usb ]; then
    set -- -v /dev/bus/usb:/dev/bus/usb --device-cgroup-rule 'c 189:* rmw' "$@"
    for group in $(getent group users | cut -d: -f3); do set -- --group-add "$group" "$@"; done
  fi
  set -- --user "$(id -u):$(id -g)" --cap-drop ALL --security-opt no-new-privileges "$@"
  exec docker run --rm --interactive --pull never --read-only --tmpfs /tmp --env HOME=/tmp --network "$network" "$@"
}
"""
)
RUN = rf"""
{CONTAINER}
root=$1 folder=$2 network=$3 accelerator=$4
cd "$folder" || exit 1
shift 4
if [ ! -s {CONTAINER_IMAGE} ]; then exec "$@"; fi
shift # the machine's interpreter
{{ : >> "$root/{BENCH_LOCK}"; }} 2>/dev/null
in_container "$(cat {CONTAINER_IMAGE})" "$root" "$folder" "$network" "$accelerator" "$@"
"""
"""$1 is ROOT, $2 the release, $3 the container's network, $4 the accelerator; then the command for a machine without containers."""
GATE = "toolkit-gate"
GATE_USER = "gate-user"
"""Beside the agent: a program that runs a command in a folder, and the name of the user who is to run it."""


@dataclass(frozen=True)
class Runtime:
    """What runs a release's code on this device."""

    python: str
    accelerator: str = "CPU"
    agent: Optional[Path] = None
    """The folder of the root-owned agent; None for code that is not the agent's."""

    def argv(self, root: Path, folder: Path, *arguments: str, network: str = "none") -> List[str]:
        """Return the command that runs `python -m device ARGUMENTS` of a release."""
        own = [self.python, "-B", "-m", "device", *arguments]
        if self.agent is not None and not (folder / CONTAINER_IMAGE).exists():
            own = [*unprivileged(self.agent), str(folder), *own]
        return ["/bin/sh", "-c", RUN, "sh", str(root), str(folder), network, self.accelerator, *own]

    def run(
        self,
        children: Children,
        root: Path,
        folder: Path,
        *arguments: str,
        timeout_s: float,
        stdin: Optional[bytes] = None,
        network: str = "none",
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of the release's code to its end. `network` is that of its container, if it has one."""
        argv = self.argv(root, folder, *arguments, network=network)
        return children.run(argv, cwd=str(folder), timeout_s=timeout_s, stdin=stdin)


def agent_folder() -> Optional[Path]:
    """Return the folder of the agent if this code is the one that Ansible installed for root, else None."""
    file = globals().get("__file__")
    folder = Path(file).parents[2] if file else None
    if folder is None or not (folder / GATE_USER).is_file() or (folder / GATE_USER).stat().st_uid != 0:
        return None
    return folder


def unprivileged(agent: Path) -> List[str]:
    """Return the beginning of a command that runs the rest as the user of GATE_USER: by setpriv as root, else by sudo."""
    user, gate = (agent / GATE_USER).read_text(encoding="utf-8").strip(), str(agent / GATE)
    if os.geteuid() == 0:
        return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--no-new-privs", gate]
    return ["sudo", "-n", "-u", user, gate]
