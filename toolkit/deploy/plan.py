"""The plan of a deployment to one device. Pure, so that --dry-run shows what will happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.deploy import signature_policy
from toolkit.deploy.compatibility import bundle_manifest, incompatibilities
from toolkit.deploy.gates.gate import REQUIRED_GATES, Gate
from toolkit.errors import FleetError
from toolkit.fleet.container_images.remote import MissingImage
from toolkit.fleet.facts import missing_requirements
from toolkit.fleet.transfer.diff import RemoteState, check_room, missing_chunks, missing_files
from toolkit.fleet.transfer.tree import FileTree
from toolkit.progress import format_bytes


@dataclass(frozen=True, slots=True)
class DeployStep:
    """One step of a plan."""

    name: str
    """"image", "send", "switch", or a gate's name."""
    what: str


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """The steps for one device, in order; none if nothing has to be done."""

    device: str
    release: str
    steps: tuple[DeployStep, ...]
    send_bytes: int = 0
    damaged: tuple[str, ...] = ()
    """Paths on the device that have wrong bytes and will be repaired."""

    def has(self, name: str) -> bool:
        """Return whether the plan has a step of that name."""
        return any(step.name == name for step in self.steps)


def is_served(tree: FileTree, current: str | None, known: RemoteState) -> bool:
    """Return whether the device serves exactly this release, intact."""
    return current == tree.digest and _is_whole(tree, known)


def _is_whole(tree: FileTree, known: RemoteState) -> bool:
    return all(file.path in known.intact for file in tree.files)


def make_plan(
    tree: FileTree,
    device: Device,
    facts: DeviceFacts,
    known: RemoteState,
    gates: Sequence[Gate] = REQUIRED_GATES,
    container_image: MissingImage | None = None,
) -> DeployPlan:
    """Return what has to be done on a device. `container_image` is what it lacks of the container image it runs in.

    Raises:
        FleetError: the device cannot run it or has no room for it; every reason is named.
    """
    problems = [
        *missing_requirements(device, facts, in_container=container_image is None),
        *incompatibilities(bundle_manifest(tree), device, facts),
        *signature_policy.missing_signature(tree, device),
    ]
    if problems:
        raise FleetError.from_problems(problems)
    lacking = missing_files(tree, known)
    check_room(device, lacking, known)
    send_bytes = sum(chunk.size_bytes for chunk in missing_chunks(tree, known))
    whole = _is_whole(tree, known)
    serving = facts.current == tree.digest
    steps: list[DeployStep] = []
    if container_image is not None:
        steps.append(DeployStep("container_image", container_image.description))
    if not whole:
        steps.append(DeployStep("send", f"{len(lacking)} of {len(tree.files)} files, {format_bytes(send_bytes)}"))
    if not (whole and serving):
        steps += [DeployStep(gate.name, gate.describe(device)) for gate in gates if not gate.after_switch]
    if not serving:
        steps.append(DeployStep("switch", f"serve it instead of {(facts.current or 'nothing')[:12]}"))
        steps += [DeployStep(gate.name, gate.describe(device)) for gate in gates if gate.after_switch]
    container_image_bytes = 0 if container_image is None else container_image.send_bytes
    return DeployPlan(device.name, tree.digest, tuple(steps), send_bytes + container_image_bytes, known.damaged)
