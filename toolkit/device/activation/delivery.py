"""Activate a release from a registry or a file, with the same gates as a deployment over SSH.

The old release serves until the switch, and again if the new one is not healthy. The outcome goes to ROOT/state.json, which
`toolkit status` reads, and to ROOT/audit.jsonl.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Set

from ..deploy_lock import deploy_lock
from ..errors import ENVIRONMENT, DeviceError
from ..layout import CURRENT, STATE_FILE
from ..release import store
from ..release.cohort import DeviceIdentity, reason_to_wait
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

BASELINE_FRAMES = 100
"""Results over which the app's frame rate is measured first, without the new release."""
FIGURES = (
    "decision", "reason", "serving", "frames", "counted", "agreed", "confidence", "ms", "fps", "notes", "seconds"
)  # fmt: skip
WAITING = "waiting"
"""The outcome of a release that the channel does not offer to this device yet."""
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
    app_url: str = "http://127.0.0.1:8080"
    """Of the live app, which gives the frames on which a release is compared if its channel asks for that."""
    app_token_file: Optional[Path] = None


def deliver(
    root: Path,
    descriptor: ReleaseDescriptor,
    fetch: Fetch,
    options: GateOptions,
    source: str,
    channel: str,
    identity: Optional[DeviceIdentity] = None,
) -> Dict[str, Any]:
    """Make the release current; return {"ok", "outcome", "release", "bundle", "signature", "gates"}, and "variant" of several.

    "outcome" is "unchanged" if the release is already current and intact. It is "waiting", with the reason as "message", if
    the statement of the channel does not admit a device of this `identity` now; None: all are admitted. Missing chunks are fetched before the deploy
    lock is taken, so that a slow server does not hold the lock.

    Raises:
        DeviceError: the release is not trusted or fresh, there is no room, another deployment runs, or chunks are
            missing.
        GateError: the release did not pass a gate; the previous release serves.
    """
    signed = verify_trust(root, descriptor, channel, check_floor)
    result = {"ok": True, **descriptor.to_json(), "signature": signed}
    before = linked_release(root, CURRENT)
    reason = None if identity is None else _reason_to_wait(root, descriptor, identity, before)
    if reason is not None:
        return {**result, "outcome": WAITING, "message": reason, "gates": {}}
    comparison = LiveComparison(options, descriptor.shadow)
    try:
        _check_variant(descriptor)
        chunks = _fetch_missing(root, descriptor, fetch, options.reserve_bytes)
        with deploy_lock(root, f"{source} {descriptor.bundle[:12]}"):
            before = linked_release(root, CURRENT)
            passed = _activate(root, descriptor, chunks, options, before, comparison)
    except DeviceError as error:
        outcome = "refused" if isinstance(error, GateError) else "failed"
        record_outcome(root, source, descriptor, before, outcome, str(error), comparison.figures)
        raise
    outcome = "deployed" if passed else "unchanged"
    record_outcome(
        root, source, descriptor, before, outcome, signed if "downgrade" in signed else "", comparison.figures
    )
    return {**result, "outcome": outcome, "gates": passed}


def _check_variant(descriptor: ReleaseDescriptor) -> None:
    """Check that this device can run one of the variants.

    Raises:
        GateError: it cannot; says why for each.
    """
    if descriptor.variant is not None and not descriptor.variant.runs:
        remedy = "publish a variant that it can run, or provision the device with the runtime that is missing"
        raise GateError(descriptor.variant.why, where=descriptor.where, remedy=remedy)


def _reason_to_wait(
    root: Path, descriptor: ReleaseDescriptor, identity: DeviceIdentity, before: Optional[str]
) -> Optional[str]:
    """Return why this device does not take the release now, and record it; a failure with this release stays on record."""
    if before == descriptor.digest:
        return None
    last = read_state(root)
    tried = last.get("release") == descriptor.digest and last.get("outcome") in {"refused", "failed"}
    reason = reason_to_wait(descriptor.rollout, identity, descriptor.digest, time.localtime(), tried=tried)
    if reason is not None and not tried:
        record_outcome(root, "pull", descriptor, before, WAITING, reason)
    return reason


def _activate(
    root: Path,
    descriptor: ReleaseDescriptor,
    chunks: Chunks,
    options: GateOptions,
    before: Optional[str],
    comparison: "LiveComparison",
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
    beside = [ActivationGate("shadow", comparison.check)] if comparison.rule and before else []
    return activate(context, delivery_gates(options, beside), Service(options.unit))


@dataclass
class LiveComparison:
    """The gate "shadow" of a release that arrives without a controller: the rule of its channel, and what was seen."""

    options: GateOptions
    rule: Optional[Dict[str, float]]
    figures: Dict[str, Any] = field(default_factory=dict)

    def check(self, context: Context) -> str:
        """Return the result as a message.

        Raises:
            DeviceError: the app gives no frames; the next pull tries again.
            GateError: the release does not agree with the serving one, or time was too short to decide.
        """
        token = self.options.app_token_file
        request = {
            "app": self.options.app_url,
            "token_file": str(token) if token else None,
            "baseline": BASELINE_FRAMES,
        }
        result = gates.check_shadow(context, {**request, **(self.rule or {})})
        if not result["ok"]:
            error = result.get("error") or {}
            what = str(error.get("what") or "the release could not run beside the serving one")
            raise DeviceError(what, where=self.options.app_url, remedy=str(error.get("remedy") or ""))
        self.figures.update({name: result.get(name) for name in FIGURES}, rule=self.rule)
        if result.get("decision") != "passed":
            remedy = "see its report; publish it with another --shadow or --shadow-gate, and devices try again"
            raise GateError(f"not switched to: {result.get('reason')}", where=str(context.folder), remedy=remedy)
        return str(result["reason"])


def delivery_gates(options: GateOptions, beside: Sequence[ActivationGate] = ()) -> List[ActivationGate]:
    """Return the gates of a release that arrives without a controller; `beside` follow the golden samples."""
    return [
        ActivationGate(INTEGRITY, _integrity),
        ActivationGate("golden", _golden),
        *beside,
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
        raise DeviceError(what, where=descriptor.where, remedy="try again; if the error persists, write the file again")


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
    root: Path,
    source: str,
    descriptor: ReleaseDescriptor,
    before: Optional[str],
    outcome: str,
    reason: str,
    shadow: Optional[Dict[str, Any]] = None,
) -> None:
    """Write the outcome to the state file and the audit log; if that fails, it is not recorded.

    `shadow` are the figures of a comparison on live frames; without any, those of this release's last one stay.
    """
    last = read_state(root)
    shadow = shadow or (last.get("shadow") if last.get("release") == descriptor.digest else None)
    at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    message: Dict[str, Any] = {
        "at": at,
        "source": source,
        "from": descriptor.where,
        **descriptor.to_json(),
        "replaced": before,
        "serves": linked_release(root, CURRENT),
        "outcome": outcome,
        "reason": reason,
        **({"shadow": shadow} if shadow else {}),
    }
    try:
        store.write_atomic(root / STATE_FILE, json.dumps(message).encode())
        if outcome not in {"unchanged", WAITING}:
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


def read_state(root: Path) -> Dict[str, Any]:
    """Return the outcome of the last release that arrived without SSH; empty if none did."""
    try:
        state = json.loads((root / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}
