"""Compare a file tree with a device's files: missing files and chunks, and the space they need. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError
from toolkit.fleet.transfer.chunks import Chunk
from toolkit.fleet.transfer.tree import File, FileTree
from toolkit.progress import format_bytes

RESERVE_BYTES = 64 << 20
"""What stays free on a device, unless toolkit_reserve_bytes is set: logs and the system need room too."""
_SLACK_BYTES = 4096
"""The most that a file takes beyond its bytes, by its last block."""


@dataclass(frozen=True, slots=True)
class RemoteState:
    """What a device has of a tree."""

    free_bytes: int
    free_inodes: int | None
    """None if the file system has no such limit."""
    intact: frozenset[str]
    """Paths of the destination with the right bytes."""
    stored: frozenset[str]
    """Digests of intact files in the store; read only if the destination is not intact."""
    damaged: tuple[str, ...]
    """Paths with wrong bytes, including store/<sha256>."""
    chunks: frozenset[str] = frozenset()
    """Digests of chunks that are on the device, of files that are not."""
    current: str | None = None
    """The release that it serves."""
    writable: bool = True
    machine: str = ""
    """Identifies the device's root among all machines: equal for two names of one device."""


def parse_remote_state(output: str, survey: Mapping[str, Any]) -> RemoteState:
    """Parse the lines `space BLOCKS SIZE INODES TOTAL`, `current LINK` and `machine ID`, and the device code's survey."""
    lines = dict(line.split(" ", 1) for line in output.splitlines() if " " in line)
    blocks, block_bytes, inodes, all_inodes = lines["space"].split()
    return RemoteState(
        free_bytes=int(blocks) * int(block_bytes),
        free_inodes=int(inodes) if int(all_inodes) else None,
        intact=frozenset(survey.get("intact", ())),
        stored=frozenset(survey.get("stored", ())),
        damaged=tuple(survey.get("damaged", ())),
        chunks=frozenset(survey.get("chunks", ())),
        current=lines.get("current", "").rpartition("/")[2] or None,
        writable="writable" in output.splitlines(),
        machine=lines.get("machine", ""),
    )


def layout(tree: FileTree, place: str) -> dict[str, Any]:
    """Return the layout of a tree as the device code reads it."""
    return {"place": place, "files": [_described(file) for file in tree.files]}


def _described(file: File) -> dict[str, Any]:
    described: dict[str, Any] = {"path": file.path, "sha256": file.sha256, "size_bytes": file.size_bytes}
    if len(file.chunks) > 1:
        described["chunks"] = [[chunk.sha256, chunk.size_bytes] for chunk in file.chunks]
    return described


def missing_files(tree: FileTree, known: RemoteState) -> tuple[File, ...]:
    """Return the files that the device has nowhere, each content once."""
    lacking = {
        file.sha256: file for file in tree.files if file.path not in known.intact and file.sha256 not in known.stored
    }
    return tuple(lacking.values())


def missing_chunks(tree: FileTree, state: RemoteState) -> tuple[Chunk, ...]:
    """Return the chunks of the missing files that the device has nowhere, each once."""
    return tuple(chunk for chunk in unique_chunks(missing_files(tree, state)) if chunk.sha256 not in state.chunks)


def unique_chunks(files: Iterable[File]) -> tuple[Chunk, ...]:
    """Return the chunks of the files, each content once."""
    return tuple({chunk.sha256: chunk for file in files for chunk in file.chunks}.values())


def check_room(device: Device, lacking: tuple[File, ...], known: RemoteState) -> None:
    """Check for room before anything is sent.

    Raises:
        FleetError: nothing can be written there, or the files would not leave free what shall stay free.
    """
    if not known.writable:
        raise FleetError(
            f"{device.root} cannot be written: it is another user's, or the file system is read-only",
            where=device.name,
            remedy=f"run ansible/provision-pi.yml, and see dmesg there: a failing card is made read-only ({device.root})",
        )
    reserve = int(str(device.variables.get("toolkit_reserve_bytes", RESERVE_BYTES)))
    needed = sum(file.size_bytes + _SLACK_BYTES for file in lacking)
    if needed + reserve > known.free_bytes:
        raise FleetError(
            f"no room: {format_bytes(needed)} to send and {format_bytes(reserve)} to stay free, but {format_bytes(known.free_bytes)} are free",
            where=device.name,
            remedy=f"free some space there (df -h {device.root}), or lower toolkit_reserve_bytes",
        )
    if known.free_inodes is not None and known.free_inodes < 2 * len(lacking) + 16:
        raise FleetError(
            f"no room: {known.free_inodes} free inodes for {len(lacking)} files",
            where=device.name,
            remedy=f"delete small files that are not needed there (df -i {device.root})",
        )
