"""Files onto a device: only those that it lacks, each checked there, the whole there at once or not at all.

    survey    one look: room, which files of the destination are intact, which objects the store has
    send      what is missing, as one tar stream, into ROOT/store/<sha256>.part
    settle    sha256 of each on the device; those that are right become read-only and get their name
    assemble  hard links from the store into a folder beside the destination, read-only, renamed

A cut anywhere leaves at worst some .part files and the old state; the same call again goes on from there. A file that
was damaged on the device since is found by the survey, sent again and put in place by a rename of its own.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolkit.artifacts import Device
from toolkit.errors import FleetError, Problem
from toolkit.fleet.shell import Shell, pieces
from toolkit.fleet.transfer_scripts import ASSEMBLE, SEND, SETTLE, SURVEY
from toolkit.fleet.tree import DEVICE_CODE, File, Tree, release_tree, tree_of

__all__ = [
    "DEVICE_CODE",
    "File",
    "Survey",
    "Tree",
    "check_room",
    "missing",
    "release_tree",
    "stage",
    "survey",
    "tree_of",
]

RESERVE_BYTES = 64 << 20
"""What stays free on a device, unless its toolkit_reserve_bytes says otherwise: logs and the system need room too."""
_SLACK_BYTES = 4096
"""What a file takes beyond its bytes: the rest of its last block."""
_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What a device has of a tree."""

    free_bytes: int
    free_inodes: int | None
    """None where the file system has no such limit."""
    intact: frozenset[str]
    """Paths of the destination that hold the right bytes."""
    stored: frozenset[str]
    """Digests of the store whose bytes are right; looked at only if the destination is not intact."""
    damaged: tuple[str, ...]
    """What is there and has the wrong bytes: paths, and store/<sha256>."""


def stage(shell: Shell, device: Device, tree: Tree, destination: str, known: Survey | None = None) -> int:
    """Make ROOT/<destination> hold exactly what `tree` says, and tell how many bytes of files had to be sent.

    `known` is what `survey` has just found, if the caller has asked already. Nothing is sent if all is there.

    Raises:
        FleetError: no room (before anything is sent), damaged in transit (names the files), or unreachable.
    """
    known = known or survey(shell, device, tree, destination)
    wanted = tuple(file for file in tree.files if file.path not in known.intact)
    if not wanted:
        return 0
    lacking = missing(tree, known)
    check_room(device, lacking, known)
    if lacking:
        _send(shell, device, lacking)
    place = _place(device, destination)
    words = ["/bin/sh", "-c", ASSEMBLE, "sh", device.root, place]
    shell.run(words, stdin=_lines(wanted), timeout=_TIMEOUT_S).check(device, f"putting {place} together")
    return sum(file.size_bytes for file in lacking)


def survey(shell: Shell, device: Device, tree: Tree, destination: str) -> Survey:
    """Look at what is there, changing nothing: one round trip."""
    words = ["/bin/sh", "-c", SURVEY, "sh", device.root, _place(device, destination)]
    answer = shell.run(words, stdin=_lines(tree.files), timeout=_TIMEOUT_S)
    return parse_survey(answer.check(device, f"looking at {device.root}").stdout)


def parse_survey(said: str) -> Survey:
    """Read what the script prints: `room BLOCKS SIZE INODES TOTAL`, then lines like `file PATH: OK`, `store SHA: FAILED`."""
    first, *lines = said.splitlines()
    _, blocks, block_bytes, inodes, all_inodes = first.split()
    checked = [line.rpartition(": ") for line in lines]
    good = {name for name, _, verdict in checked if verdict == "OK"}
    return Survey(
        free_bytes=int(blocks) * int(block_bytes),
        free_inodes=int(inodes) if int(all_inodes) else None,
        intact=frozenset(name.removeprefix("file ") for name in good if name.startswith("file ")),
        stored=frozenset(name.removeprefix("store ") for name in good if name.startswith("store ")),
        damaged=tuple(
            name.replace("store ", "store/").removeprefix("file ")
            for name, _, verdict in checked
            if verdict == "FAILED"
        ),
    )


def missing(tree: Tree, known: Survey) -> tuple[File, ...]:
    """The files whose bytes the device has nowhere, each content once."""
    lacking = {
        file.sha256: file for file in tree.files if file.path not in known.intact and file.sha256 not in known.stored
    }
    return tuple(lacking.values())


def _place(device: Device, destination: str) -> str:
    return destination if destination.startswith("/") else f"{device.root}/{destination}"


def _lines(files: Iterable[File]) -> bytes:
    return "".join(f"{file.sha256} {file.path}\n" for file in files).encode()


def check_room(device: Device, lacking: tuple[File, ...], known: Survey) -> None:
    """Find out before anything is sent, not half-way.

    Raises:
        FleetError: the files would not leave free what shall stay free.
    """
    reserve = int(str(device.variables.get("toolkit_reserve_bytes", RESERVE_BYTES)))
    needed = sum(file.size_bytes + _SLACK_BYTES for file in lacking)
    if needed + reserve > known.free_bytes:
        raise FleetError(
            f"no room: {_mb(needed)} to send and {_mb(reserve)} to stay free, but {_mb(known.free_bytes)} are free",
            where=device.name,
            remedy=f"delete what is not needed there (df -h {device.root}), or lower toolkit_reserve_bytes",
        )
    if known.free_inodes is not None and known.free_inodes < 2 * len(lacking) + 16:
        raise FleetError(
            f"no room: {known.free_inodes} free inodes for {len(lacking)} files",
            where=device.name,
            remedy=f"delete small files that are not needed there (df -i {device.root})",
        )


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _send(shell: Shell, device: Device, lacking: tuple[File, ...]) -> None:
    """Into the store, then checked there."""
    words = ["/bin/sh", "-c", SEND, "sh", device.root]
    shell.run(words, stdin=tar_stream(lacking), timeout=_TIMEOUT_S).check(device, "sending files")
    words = ["/bin/sh", "-c", SETTLE, "sh", device.root]
    answer = shell.run(words, stdin=_lines(lacking), timeout=_TIMEOUT_S).check(device, "checking what arrived")
    good = {line.removesuffix(".part: OK") for line in answer.stdout.splitlines()}
    damaged = [file for file in lacking if file.sha256 not in good]
    if damaged:
        raise FleetError.from_problems([_damage(device, file) for file in damaged])


def _damage(device: Device, file: File) -> Problem:
    return Problem(
        f"{file.path} arrived damaged (sha256 differs) and was thrown away",
        device.name,
        "run the command again; if it stays so, check the device's card and this machine's memory",
    )


def tar_stream(files: Iterable[File]) -> Iterator[bytes]:
    """The files as a tar archive (POSIX.1-1988), each named by its content, made while it is read.

    Raises:
        FleetError: a file has become shorter or longer since its digest was taken.
    """
    for file in files:
        header = tarfile.TarInfo(f"{file.sha256}.part")
        header.size = file.size_bytes
        yield header.tobuf(tarfile.USTAR_FORMAT)
        sent = 0
        for piece in pieces(file.source):
            sent += len(piece)
            yield piece
        if sent != file.size_bytes:
            raise FleetError(f"changed while it was being sent: {file.source!s}", remedy="run the command again")
        yield bytes(-sent % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
