"""Install a release from a file, for example on a USB drive; `toolkit deploy BUNDLE --offline FILE` writes the file.

The file is a tar archive: the documents of `descriptor` first, then the chunks as they are sent over SSH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, Set, Tuple

from ..activation.delivery import GateOptions, deliver
from ..errors import DeviceError
from .descriptor import MAX_BYTES, parse_descriptor
from .manifest import MAX_DOCUMENT_BYTES, open_regular
from .receiver import Chunks, iter_chunks, iter_members

CHANNEL = "offline"
"""The default channel of an archive."""


def install(file: Path, root: Path, options: GateOptions, channel: str = CHANNEL) -> Dict[str, Any]:
    """Install the release in an archive; return the result of `deliver`.

    Raises:
        DeviceError: the file is not such an archive, or the release did not pass.
    """
    descriptor = parse_descriptor(str(file), read_documents(file))

    def fetch(missing: Set[str]) -> Chunks:
        return _chunks(file, missing)

    return deliver(root, descriptor, fetch, options, "install", channel)


def read_documents(file: Path) -> Dict[str, bytes]:
    """Return the documents before the first chunk; oversized members are not read into memory."""
    documents: Dict[str, bytes] = {}
    try:
        with open_regular(file) as stream:
            for name, content in iter_members(stream, MAX_DOCUMENT_BYTES):
                if name not in MAX_BYTES or content is None or len(content) > MAX_BYTES[name] or name in documents:
                    break
                documents[name] = content
    except OSError as error:
        remedy = "write it with: toolkit deploy BUNDLE --offline FILE"
        raise DeviceError(f"cannot be read: {error.strerror or error}", where=str(file), remedy=remedy) from None
    return documents


def _chunks(file: Path, missing: Set[str]) -> Iterator[Tuple[str, bytes]]:
    with open_regular(file) as stream:
        yield from ((sha, content) for sha, content in iter_chunks(stream) if sha in missing)
