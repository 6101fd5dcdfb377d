"""Transfer files to a device: only missing chunks, each verified there; the result appears complete or not at all.

    state     free space, the current release, and whether the destination is complete: one round trip, a few lines
    survey    if it is not: which files are intact, which the store has, which chunks of the others exist already
    receive   what is missing, as one tar stream; each chunk is verified and written to its file, each complete file becomes
              read-only and gets its name, and hard links make the destination, which is renamed into place at the end

An interruption leaves the chunks that arrived and the old state; the same call continues from there. A file that was
damaged on the device since is found by its digest; its damaged chunks are sent again, and a rename replaces it.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from toolkit import hashing
from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError, Problem
from toolkit.fleet.ssh.shell import Shell
from toolkit.fleet.transfer.chunks import Chunk
from toolkit.fleet.transfer.diff import (
    RemoteState,
    check_room,
    layout,
    missing_chunks,
    missing_files,
    parse_remote_state,
    unique_chunks,
)
from toolkit.fleet.transfer.scripts import RECEIVER, STATE, program, receiver
from toolkit.fleet.transfer.stream import RateLimit, tar_stream
from toolkit.fleet.transfer.tree import File, FileTree

_TIMEOUT_S = 1800.0
_SLOWEST_BYTES_PER_S = 4000.0
"""Slower devices time out."""
_ROUNDS = 2
"""A chunk that is gone or damaged by the time it is needed is sent in a second round."""
_REMEDIES = {
    errno.ENOSPC: "make room there: df -h and df -i say of what",
    errno.EDQUOT: "make room there: the user's quota is used up",
    errno.EROFS: "its file system is read-only, as Linux makes it when a card fails: see dmesg there, replace the card",
    errno.EIO: "its card is failing: see dmesg there, replace the card",
}


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """Options of a transfer."""

    bandwidth: RateLimit | None = None
    """The limit of all devices together."""
    keep: int | None = None
    """Older releases to keep besides the current and the previous one; None keeps all."""


Receive = Callable[[Mapping[str, Any], str, Iterable[bytes], float], dict[str, Any]]
"""Sends a layout, how many releases to keep, and an archive of chunks; returns the device's answer within a number of seconds."""


def stage(
    shell: Shell,
    device: Device,
    tree: FileTree,
    destination: str,
    known: RemoteState | None = None,
    transfer: TransferOptions | None = None,
    receive: Receive | None = None,
) -> int:
    """Make ROOT/<destination> hold exactly the tree, and return how many bytes had to be sent.

    `known` is what `survey` has just found, if the caller has asked already. Nothing is sent if all is there. `receive` is
    that of a session that is open already; by default, a receiver is started.

    Raises:
        FleetError: no room (before anything is sent), damaged in transit (names the files), or unreachable.
    """
    known = known or read_remote_state(shell, device, tree, destination)
    if all(file.path in known.intact for file in tree.files):
        return 0
    check_room(device, missing_files(tree, known), known)
    chunks = missing_chunks(tree, known)
    sent = 0
    for _ in range(_ROUNDS):
        answer = _send(receive or _receiver(shell, device), device, tree, destination, chunks, transfer)
        sent += sum(chunk.size_bytes for chunk in chunks)
        if answer["ok"]:
            return sent
        _raise_if_damaged(device, tree, answer["damaged"])
        chunks = tuple(chunk for chunk in unique_chunks(tree.files) if chunk.sha256 in answer["lacking"])
    raise FleetError(f"lacks {len(chunks)} chunks that were sent", where=device.name, remedy="run the command again")


def read_remote_state(shell: Shell, device: Device, tree: FileTree, destination: str) -> RemoteState:
    """Return what the device has: one round trip, and a second if the destination is not intact."""
    place = _place(device, destination)
    listed = "".join(f"{file.sha256}  {file.path}\n" for file in tree.files).encode()
    argv = ["/bin/sh", "-c", STATE, "sh", device.root, place, hashing.sha256_bytes(listed), device.python]
    output = shell.run(argv, timeout=_TIMEOUT_S).check(device, f"looking at {device.root}").stdout
    lines, survey = set(output.splitlines()), dict[str, Any]()
    if "whole" in lines:
        survey = {"intact": [file.path for file in tree.files]}
    elif "python" in lines and "bare" not in lines:  # without a Python, the probe says so
        described = _layout_line(layout(tree, place))
        survey = _checked(device, _ask(shell, device, ("survey", device.root), [described]))
    return parse_remote_state(output, survey)


def _layout_line(described: Mapping[str, Any]) -> bytes:
    return json.dumps(described).encode() + b"\n"


def _place(device: Device, destination: str) -> str:
    return destination if destination.startswith("/") else f"{device.root}/{destination}"


def _send(
    receive: Receive,
    device: Device,
    tree: FileTree,
    destination: str,
    chunks: tuple[Chunk, ...],
    transfer: TransferOptions | None,
) -> dict[str, Any]:
    """Send the chunks and let the device assemble the destination.

    Raises:
        FleetError: its disk takes no more, or its Python does not work.
    """
    transfer = transfer or TransferOptions()
    size_bytes = sum(chunk.size_bytes for chunk in chunks)
    slowest = _SLOWEST_BYTES_PER_S if transfer.bandwidth is None else transfer.bandwidth.bytes_per_s / 64
    keep = "all" if transfer.keep is None else str(transfer.keep)
    described, archive = layout(tree, _place(device, destination)), tar_stream(chunks, transfer.bandwidth)
    return _checked(device, receive(described, keep, archive, _TIMEOUT_S + size_bytes / slowest))


def _receiver(shell: Shell, device: Device) -> Receive:
    """Return what starts a receiver for one archive."""

    def receive(described: Mapping[str, Any], keep: str, archive: Iterable[bytes], timeout: float) -> dict[str, Any]:
        stdin = chain([_layout_line(described)], archive)
        return _ask(shell, device, ("receive", device.root, keep), stdin, timeout)

    return receive


def _ask(
    shell: Shell, device: Device, argv: tuple[str, ...], stdin: Iterable[bytes], timeout: float = _TIMEOUT_S
) -> dict[str, Any]:
    """Return the device code's answer, one line of JSON.

    Raises:
        FleetError: its Python does not work.
    """
    result = shell.run(receiver(device, *argv), stdin=chain([program(RECEIVER)], stdin), timeout=timeout)
    answer: dict[str, Any] = json.loads(result.check(device, "receiving files").stdout)
    return answer


def _checked(device: Device, answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer.

    Raises:
        FleetError: its disk takes no more.
    """
    if "error" in answer:
        what = f"cannot write {answer.get('where')}: {answer['error']}"
        raise FleetError(what, where=device.name, remedy=_REMEDIES.get(answer.get("errno", 0), "see dmesg there"))
    return answer


def _raise_if_damaged(device: Device, tree: FileTree, damaged: list[str]) -> None:
    files = [file for file in tree.files if any(chunk.sha256 in damaged for chunk in file.chunks)]
    if files:
        raise FleetError.from_problems([_damage(device, file) for file in files])


def _damage(device: Device, file: File) -> Problem:
    return Problem(
        f"{file.path} arrived damaged (SHA-256 differs) and was discarded",
        device.name,
        "run the command again; if it happens again, check the device's card and this machine's memory",
    )
