"""Activate a release from a registry or a file, by the gates of a deployment over SSH.

The gates: free space, digests and signature, golden outputs, health. The old release serves until the switch, and
again if the new one is not healthy. The outcome goes to ROOT/state.json, which `toolkit status` reads, and to
ROOT/audit.jsonl.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Set

from ..deploy_lock import deploy_lock
from ..errors import ENVIRONMENT, DeviceError
from . import health, store
from .descriptor import ReleaseDescriptor, verify_trust
from .prune import KEEP_RELEASES, prune
from .receiver import Chunks, receive
from .verify import verify

STATE_FILE = "state.json"
RESERVE_BYTES = 64 << 20
"""Space that stays free, as for deployments over SSH."""
_SLACK_BYTES = 4096
_GOLDEN_S = 600
_RESTART_S = 120

Fetch = Callable[[Set[str]], Chunks]
"""Returns the chunks with the requested digests, and possibly others."""


@dataclass(frozen=True)
class Gates:
    """The gates that a release must pass on this device."""

    accelerator: str = "CPU"
    unit: str = "toolkit-runner.service"
    url: Optional[str] = None
    """Health URL of the service, if it has one."""
    seconds: float = 10.0
    """How long the service must stay healthy."""
    reserve_bytes: int = RESERVE_BYTES


class GateError(DeviceError):
    """The release did not pass a gate; retrying gives the same result."""


def activate(
    root: Path, descriptor: ReleaseDescriptor, fetch: Fetch, gates: Gates, source: str, channel: str
) -> Dict[str, Any]:
    """Make the release current; return {"ok", "outcome", "release", "bundle", "signature", "gates"}.

    "outcome" is "unchanged" if the release is already current and intact. Missing chunks are fetched before the deploy
    lock is taken, so that a slow server does not hold the lock.

    Raises:
        DeviceError: the release is not trusted or fresh, there is no room, another deployment runs, or chunks are
            missing.
        GateError: the release did not pass a gate; the previous release serves.
    """
    signed = verify_trust(root, descriptor, channel)
    result = {"ok": True, "release": descriptor.digest, "bundle": descriptor.bundle, "signature": signed}
    before = linked_release(root, "current")
    try:
        chunks = _fetch_missing(root, descriptor, fetch, gates.reserve_bytes)
        with deploy_lock(root, f"{source} {descriptor.bundle[:12]}"):
            before = linked_release(root, "current")
            passed = _activate(root, descriptor, chunks, gates, before)
    except DeviceError as error:
        outcome = "refused" if isinstance(error, GateError) else "failed"
        record_outcome(root, source, descriptor, before, outcome, str(error))
        raise
    outcome = "deployed" if passed else "unchanged"
    record_outcome(root, source, descriptor, before, outcome, signed if "downgrade" in signed else "")
    return {**result, "outcome": outcome, "gates": passed}


def _activate(
    root: Path, descriptor: ReleaseDescriptor, chunks: Chunks, gates: Gates, before: Optional[str]
) -> Dict[str, str]:
    """Install and switch; return the result of each gate, empty if there was nothing to do."""
    state = store.survey(root, descriptor.layout)
    intact = len(state["intact"]) == len(descriptor.layout["files"])
    folder = root / descriptor.layout["place"]
    if intact and before == descriptor.digest and verify(folder)["ok"]:
        return {}
    if not intact:
        _receive(root, descriptor, chunks)
    passed = {"verify": _check_integrity(folder), "golden": _check_golden(folder, gates.accelerator)}
    if before != descriptor.digest:
        previous = linked_release(root, "previous")
        switch(root, descriptor.digest, before)
        try:
            passed["healthy"] = _check_health(gates)
        except GateError:
            _set_link(root, "current", before)
            _set_link(root, "previous", previous)
            _restart(gates.unit)
            raise
    return passed


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


def _check_integrity(folder: Path) -> str:
    """Verify digests and signature with the running code, not with the release's own."""
    problems = verify(folder)["problems"]
    if problems:
        raise GateError("; ".join(problems), where=str(folder), remedy="publish it again, complete and signed")
    return "intact"


def _check_golden(folder: Path, accelerator: str) -> str:
    """Run the golden check with the release's own code, which will serve."""
    words = [sys.executable, "-B", "-m", "device", "golden", str(folder), "--accelerator", accelerator]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=_GOLDEN_S)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        message = "; ".join(done.stderr.strip().splitlines()[-2:])
        remedy = "see by `python -m device probe` what this device lacks"
        raise DeviceError(f"golden check gave no answer: {message}", where=str(folder), remedy=remedy) from None
    if not found["ok"]:
        why = (found.get("error") or {}).get("what") or f"max_abs {found.get('max_abs')}"
        kind = DeviceError if done.returncode == ENVIRONMENT else GateError
        raise kind(f"golden check failed: {why}", where=str(folder))
    return f"differs by {found['max_abs']:.1e}, {found['tolerance']:g} allowed"


def _check_health(gates: Gates) -> str:
    _restart(gates.unit)
    found = health.check_health(gates.unit, gates.url, gates.seconds)
    if not found["ok"]:
        raise GateError(str(found["message"]), where=gates.unit, remedy=f"journalctl -u {gates.unit}")
    return str(found["message"])


def _restart(unit: str) -> None:
    """Restart the unit, as root or through the sudo rule of the role runner; do nothing if there is no such unit."""
    try:
        if subprocess.run(["systemctl", "cat", unit], capture_output=True, check=False).returncode == 0:
            sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
            subprocess.run([*sudo, "systemctl", "restart", unit], capture_output=True, check=False, timeout=_RESTART_S)
    except (OSError, subprocess.TimeoutExpired):
        return  # the health check follows


def switch(root: Path, release: str, before: Optional[str]) -> None:
    """Point `current` to the release and `previous` to the old one; if interrupted in between, the old one serves."""
    if before and before != release:
        _set_link(root, "previous", before)
    _set_link(root, "current", release)


def linked_release(root: Path, name: str) -> Optional[str]:
    """Return the release that `current` or `previous` points to; None without a link."""
    link = root / name
    return link.readlink().name if link.is_symlink() else None


def _set_link(root: Path, name: str, release: Optional[str]) -> None:
    """Set a link by one rename, or remove it for None."""
    link, new = root / name, root / f".{name}.new"
    if release is None:
        if link.is_symlink():
            link.unlink()
        return
    if new.is_symlink():
        new.unlink()
    new.symlink_to(f"releases/{release}")
    new.replace(link)
    store.sync(root)


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
    }
    message = {
        **message,
        "replaced": before,
        "serves": linked_release(root, "current"),
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
            with open(root / "audit.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps({**line, "outcome": outcome, "reason": reason}) + "\n")
    except OSError:
        return
