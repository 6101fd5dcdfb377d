"""Run the playbooks of `ansible/`, from the checkout or from the installed package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import toolkit
from toolkit import files
from toolkit.fleet.inventory.ansible import ansible_command, configuration

PLAYBOOKS = ("provision-pi", "update", "overlay", "rotate-keys", "decommission", "record-host-keys")
_RECAP = re.compile(r"^(\S+)\s+: (ok=\d+.*)$", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookResult:
    """How a playbook ended: Ansible's exit code, and its counts of tasks per device ("ok", "changed", "failed", …)."""

    playbook: str
    exit_code: int
    devices: dict[str, dict[str, int]]


def playbook_folder() -> Path:
    """Return the folder of the playbooks and roles.

    Raises:
        MachineError: this installation has none.
    """
    return files.shipped_folder("ansible", "provision-pi.yml", "playbooks")


def run_playbook(
    playbook: str, inventory: Path, arguments: Sequence[str], *, to_stderr: bool = False
) -> PlaybookResult:
    """Run one of PLAYBOOKS with further options of ansible-playbook, on this terminal.

    An ansible.cfg that belongs to the inventory takes precedence over the one of the playbooks, but roles and modules
    are always those of the toolkit. With `to_stderr`, Ansible's output goes to stderr and its counts are returned.

    Raises:
        MachineError: Ansible or the playbooks are not installed.
    """
    folder = playbook_folder()
    command = [*ansible_command("playbook"), "-i", str(inventory), *_sources(folder), *arguments]
    command.append(str(folder / f"{playbook}.yml"))
    environment = {
        "ANSIBLE_CONFIG": str(configuration(inventory) or folder / "ansible.cfg"),
        **os.environ,
        "ANSIBLE_ROLES_PATH": str(folder / "roles"),
    }
    devices: dict[str, dict[str, int]] = {}
    output = subprocess.PIPE if to_stderr else None
    with _as_collection(folder) as collections:
        environment["ANSIBLE_COLLECTIONS_PATH"] = os.pathsep.join((str(collections), _other_collections()))
        process = _run(command, environment, output, devices)
    return PlaybookResult(playbook=playbook, exit_code=process.returncode, devices=devices)


@contextmanager
def _as_collection(folder: Path) -> Iterator[Path]:
    """A folder in which Ansible finds the plugins of `folder` as a collection: the roles name them in full."""
    with tempfile.TemporaryDirectory(prefix="toolkit-collections-") as collections:
        place = Path(collections) / "ansible_collections" / "edge_vision"
        place.mkdir(parents=True)
        (place / "toolkit").symlink_to(folder)
        yield Path(collections)


def _other_collections() -> str:
    return os.environ.get("ANSIBLE_COLLECTIONS_PATH") or "~/.ansible/collections:/usr/share/ansible/collections"


def _run(
    command: Sequence[str], environment: Mapping[str, str], output: int | None, devices: dict[str, dict[str, int]]
) -> subprocess.Popen[str]:
    with subprocess.Popen(command, env=environment, stdout=output, text=True) as process:
        for line in process.stdout or ():
            sys.stderr.write(line)
            if matched := _RECAP.match(line):
                devices[matched[1]] = _counts(matched[2])
    return process


def _sources(folder: Path) -> list[str]:
    """Return the variables that lead the roles to the code for devices and to the locked wheels."""
    requirements = folder.parent / "requirements"
    return ["-e", f"toolkit_package={Path(toolkit.__file__).parent}", "-e", f"toolkit_requirements={requirements}"]


def _counts(text: str) -> dict[str, int]:
    return {name: int(number) for name, _, number in (part.partition("=") for part in text.split())}
