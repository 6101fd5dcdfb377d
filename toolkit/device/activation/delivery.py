"""Activate a release from a registry or a file, with the same gates as a deployment over SSH.

The old release serves until the switch, and again if the new one is not healthy. The outcome goes to ROOT/state.json, which
`toolkit status` reads, and to ROOT/audit.jsonl.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set

from ..deploy_lock import deploy_lock
from ..errors import ENVIRONMENT, DeviceError
from ..layout import CURRENT, STATE_FILE
from ..release import store
from ..release.descriptor import ReleaseDescriptor, verify_trust
from ..release.health import START_TIMEOUT_S
from ..release.prune import KEEP_RELEASES, prune
from ..release.receiver import Chunks, receive
from ..release.verify import verify
from . import gates
from .activate import INTEGRITY, ActivationGate, GateError, activate
from .audit import append_audit
from .child import Children
from .floors import check_floor
from .gates import Context
from .links import linked_release
from .release_code import Runtime, agent_folder
from .service import UNIT, Service

RESERVE_BYTES = 64 << 20
"""Space that stays free, as for deployments over SSH."""
_SLACK_BYTES = 4096

Fetch = Callable[[Set[str]], Chunks]
"""Returns the chunks with the requested digests, and possibly others."""


@dataclass(frozen=True)
class GateOptions:
    """Options of the gates that a release must pass on this device."""

    accelerator: str = "CPU"
    unit: str = UNIT
    url: Optional[str] = None
    """Health URL of the service, if it has one."""
    seconds: float = 10.0
    """How long the service must stay healthy."""
    reserve_bytes: int = RESERVE_BYTES


def deliver(
    root: Path, descriptor: ReleaseDescriptor, fetch: Fetch, options: GateOptions, source: str, channel: str
) -> Dict[str, Any]:
    """Make the release current; return {"ok", "outcome", "release", "bundle", "signature", "gates"}.

    "outcome" is "unchanged" if the release is already current and intact. Missing chunks are fetched before the deploy
    lock is taken, so that a slow server does not hold the lock.

    Raises:
        DeviceError: the release is not trusted or fresh, there is no room, another deployment runs, or chunks are
            missing.
        GateError: the release did not pass a gate; the previous release serves.
    """
    signed = verify_trust(root, descriptor, channel, check_floor)
    result = {"ok": True, "release": descriptor.digest, "bundle": descriptor.bundle, "signature": signed}
    before = linked_release(root, CURRENT)
    try:
        chunks = _fetch_missing(root, descriptor, fetch, options.reserve_bytes)
        with deploy_lock(root, f"{source} {descriptor.bundle[:12]}"):
            before = linked_release(root, CURRENT)
            passed = _activate(root, descriptor, chunks, options, before)
    except DeviceError as error:
        outcome = "refused" if isinstance(error, GateError) else "failed"
        record_outcome(root, source, descriptor, before, outcome, str(error))
        raise
    outcome = "deployed" if passed else "unchanged"
    record_outcome(root, source, descriptor, before, outcome, signed if "downgrade" in signed else "")
    return {**result, "outcome": outcome, "gates": passed}


def _activate(
    root: Path, descriptor: ReleaseDescriptor, chunks: Chunks, options: GateOptions, before: Optional[str]
) -> Dict[str, str]:
    """Receive and activate; return the result of each gate, empty if there was nothing to do."""
    state = store.survey(root, descriptor.layout)
    intact = len(state["intact"]) == len(descriptor.layout["files"])
    if intact and before == descriptor.digest and verify(root / descriptor.layout["place"])["ok"]:
        return {}
    if not intact:
        _receive(root, descriptor, chunks)
    runtime = Runtime(default_python(root), options.accelerator, agent_folder())
    context = Context(root, descriptor.digest, runtime, Children())
    return activate(context, delivery_gates(options), Service(options.unit))


def delivery_gates(options: GateOptions) -> List[ActivationGate]:
    """Return the gates of a release that arrives without a controller."""
    return [
        ActivationGate(INTEGRITY, _integrity),
        ActivationGate("golden", _golden),
        ActivationGate("healthy", lambda _: _healthy(options), after_switch=True),
    ]


def default_python(root: Path) -> str:
    """Return the interpreter of the role `openvino` if this device has it, else the running one."""
    own = root / "venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def _fetch_missing(root: Path, descriptor: ReleaseDescriptor, fetch: Fetch, reserve_bytes: int) -> Chunks:
    """Return the chunks that this device lacks, after pruning old releases."""
    state = store.survey(root, descriptor.layout)
    files = descriptor.layout["files"]
    present = {*state["stored"], *(file["sha256"] for file in files if file["path"] in state["intact"])}
    lacking = {file["sha256"]: file for file in files if file["sha256"] not in present}
    if not lacking:
        return ()
    try:
        with deploy_lock(root, f"room for {descriptor.bundle[:12]}"):
            prune(root, KEEP_RELEASES, descriptor.layout)
        _check_free_space(root, list(lacking.values()), reserve_bytes)
        return fetch({sha for file in lacking.values() for sha, _, _ in store.chunks_of(file)} - {*state["chunks"]})
    except OSError as error:
        raise _disk_error(root, error) from None


def _receive(root: Path, descriptor: ReleaseDescriptor, chunks: Chunks) -> None:
    try:
        answer = receive(root, descriptor.layout, chunks)
    except OSError as error:
        raise _disk_error(root, error) from None
    if not answer["ok"]:
        damaged = f", {len(answer['damaged'])} of them damaged" if answer["damaged"] else ""
        what = f"lacks {len(answer['lacking'])} chunks{damaged}; the others are stored"
        raise DeviceError(what, where=descriptor.where, remedy="try again; if it stays so, write it again")


def _disk_error(root: Path, error: OSError) -> DeviceError:
    where = str(error.filename or root)
    return DeviceError(f"cannot be written: {error.strerror or error}", where=where, remedy="see df, and dmesg")


def _check_free_space(root: Path, lacking: "list[store.File]", reserve_bytes: int) -> None:
    root.mkdir(parents=True, exist_ok=True)
    volume = os.statvfs(root)
    needed = sum(file["size_bytes"] + _SLACK_BYTES for file in lacking) + reserve_bytes
    free = volume.f_bavail * volume.f_frsize
    if needed > free:
        raise DeviceError(
            f"no room: {needed / 1e6:,.1f} MB needed, {free / 1e6:,.1f} MB free", where=str(root), remedy="df -h"
        )
    if volume.f_files and volume.f_favail < 2 * len(lacking) + 16:
        raise DeviceError(f"no room: {volume.f_favail} free inodes", where=str(root), remedy="df -i")


def _integrity(context: Context) -> str:
    result = gates.check_integrity(context)
    if "error" in result:
        error = result["error"]
        raise DeviceError(error["what"], where=error["where"], remedy=error["remedy"])
    if not result["ok"]:
        remedy = "publish it again, complete and signed"
        raise GateError("; ".join(result["problems"]), where=str(context.folder), remedy=remedy)
    return "intact"


def _golden(context: Context) -> str:
    result = gates.check_golden(context)
    if not result["ok"]:
        why = (result.get("error") or {}).get("what") or f"max_abs {result.get('max_abs')}"
        kind = DeviceError if result["exit_code"] == ENVIRONMENT else GateError
        raise kind(f"golden check failed: {why}", where=str(context.folder))
    return f"differs by {result['max_abs']:.1e}, {result['tolerance']:g} allowed"


def _healthy(options: GateOptions) -> str:
    result = gates.check_service(options.unit, options.url, options.seconds, START_TIMEOUT_S)
    if not result["ok"]:
        raise GateError(str(result["message"]), where=options.unit, remedy=f"journalctl -u {options.unit}")
    return str(result["message"])


def record_outcome(
    root: Path, source: str, descriptor: ReleaseDescriptor, before: Optional[str], outcome: str, reason: str
) -> None:
    """Write the outcome to the state file and the audit log; if that fails, it is not recorded."""
    at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    message: Dict[str, Optional[str]] = {
        "at": at,
        "source": source,
        "from": descriptor.where,
        "release": descriptor.digest,
        "bundle": descriptor.bundle,
        "replaced": before,
        "serves": linked_release(root, CURRENT),
        "outcome": outcome,
        "reason": reason,
    }
    try:
        store.write_atomic(root / STATE_FILE, json.dumps(message).encode())
        if outcome != "unchanged":
            line = {
                "at": at,
                "who": "device",
                "rollout": "",
                "what": source,
                "release": descriptor.digest,
                "replaced": before,
            }
            append_audit(root, {**line, "outcome": outcome, "reason": reason})
    except OSError:
        return
