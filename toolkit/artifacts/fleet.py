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
    variant_reason: str = ""
    """Why this variant of the model was sent; empty if the user named the bundle."""


PASSED, REFUSED, UNDECIDED = "passed", "refused", "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRun:
    """How a candidate compared with the serving release on a device's live frames."""

    digest: str
    parent: str
    """The candidate's bundle."""
    device: str
    release: str
    serving: str
    """The release that served, whose answers it was compared with."""
    serving_name: str
    decision: str
    """PASSED, REFUSED or UNDECIDED."""
    reason: str
    """The decision in words."""
    gate: float | None
    """The agreement that was required; None if it was only shown."""
    alpha: float
    """The probability with which a candidate at or below the gate passes."""
    beta: float
    """The probability with which one that disagrees half as often as the gate allows is refused."""
    frames: int
    """Compared frames."""
    counted: int
    """Those that the decision rests on: each differs visibly from the one before."""
    agreed: int
    """Counted frames with the same answer."""
    design_effect: float
    """How many counted frames are worth one independent sample."""
    confidence: tuple[float, float]
    """Mean probability of the best guess: serving release, candidate."""
    latency_ms: tuple[float | None, float | None]
    """Median: from the camera to the result of the serving release, and the candidate's own, at the lowest priority."""
    class_shift: float
    """Share of frames that moved from class to class between the two, 0…1: half the sum of the differences of shares."""
    fps: tuple[float | None, float | None]
    """Results of the app per second: without the candidate, and beside it."""
    disagreements: Mapping[str, int] = field(default_factory=dict, hash=False)
    """The most frequent ones, "serving → candidate", with their number."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    at: str = ""
    accuracy_gate: float | None = None
    """The accuracy on labeled captures that was required; None: not judged."""
    labeled: int = 0
    """Labeled captures that the decision rests on."""
    right: tuple[int, int] = (0, 0)
    """Those classified correctly: by the serving release at capture, and by the candidate."""
