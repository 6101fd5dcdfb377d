"""A release from a file, such as a stick carries: `toolkit deploy BUNDLE --offline FILE` writes it.

It is a tar archive: the documents of `offers` first, then the pieces as they are sent over SSH.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any, Dict, Iterator, Set, Tuple

from ..errors import DeviceError
from . import descriptor
from .activate import Gates, activate
from .receiver import Chunks, iter_chunks

_DOCUMENTS = (descriptor.LAYOUT, descriptor.RELEASE, descriptor.SIGNATURE)


def install(file: Path, root: Path, gates: Gates) -> Dict[str, Any]:
    """See `apply`.

    Raises:
        DeviceError: the file is no such archive, or the release did not pass.
    """
    parsed = descriptor.parse_descriptor(str(file), _read_documents(file))

    def fetch(wanted: Set[str]) -> Chunks:
        return _chunks(file, wanted)

    return activate(root, parsed, fetch, gates, "install")


def _read_documents(file: Path) -> Dict[str, bytes]:
    found: Dict[str, bytes] = {}
    try:
        with tarfile.open(file, mode="r:") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.size <= descriptor.MAX_DOCUMENT_BYTES else None
                if member.name not in _DOCUMENTS or stream is None:
                    break
                found[member.name] = stream.read()
    except (OSError, tarfile.TarError) as error:
        remedy = "write it with: toolkit deploy BUNDLE --offline FILE"
        raise DeviceError(f"cannot be read: {error}", where=str(file), remedy=remedy) from None
    return found


def _chunks(file: Path, wanted: Set[str]) -> Iterator[Tuple[str, bytes]]:
    with open(file, "rb") as stream:
        yield from ((sha, content) for sha, content in iter_chunks(stream) if sha in wanted)
