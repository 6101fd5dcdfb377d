"""Devices and deployments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.device.layout import ROOT


class Secret(str):
    """A text that is not printed: it was vault-encrypted in the inventory."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One host of the inventory, as Ansible sees it."""

    name: str
    host: str
    port: int = 22
    user: str | None = None
    key_file: str | None = None
    known_hosts: str | None = None
    password: str | None = field(default=None, repr=False)
    """Of the login; None: by key."""
    become_password: str | None = field(default=None, repr=False)
    """That sudo asks for; None: sudo asks for none."""
    ssh_args: tuple[str, ...] = ()
    """Further arguments of `ssh` (ansible_ssh_common_args and the like)."""
    ssh_program: str = "ssh"
    """The program `ssh` (ansible_ssh_executable)."""
    connect_timeout_s: float = 10.0
    """How long to wait for a connection (ansible_ssh_timeout)."""
    connection: str = "ssh"
    """"ssh", or "local" for this machine."""
    groups: tuple[str, ...] = ()
    root: str = ROOT
    """Where releases live on it (toolkit_root)."""
    python: str = f"{ROOT}/venv/bin/python"
    """The interpreter (toolkit_python); it has OpenVINO, unless releases run in a container image."""
    accelerator: str = "CPU"
    container_image: str | None = None
    """The container image that its releases run in (toolkit_container_image); None: they run by `python`."""
    variables: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What the probe found on a device: its own JSON, kept whole, with the parts that decisions rest on named."""

    device: str
    machine: str
    python: str
    openvino: str | None
    accelerators: tuple[str, ...]
    free_bytes: int
    current: str | None
    """The digest of the release it serves."""
    previous: str | None
    releases: tuple[str, ...]
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What became of one bundle on one device."""

    digest: str
    parent: str
    """The bundle."""
    device: str
    release: str
    outcome: str
    """One of "deployed", "unchanged", "failed", "rolled-back", "skipped" (its rollout ended before its turn)."""
    reason: str = ""
    sent_bytes: int = 0
    seconds: float = 0.0
    at: str = ""
    rollout: str = ""
    """What all deployments of one call have in common."""
    batch: int = 0
    """Its turn in that, from 1; 0: it had none."""
    gates: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What each gate found, in words."""
