"""Install a release from a file, for example on a USB drive; `toolkit deploy BUNDLE --offline FILE` writes the file.

The file is a tar archive: the documents of `descriptor` first, then the chunks as they are sent over SSH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection, Dict, Iterator, Set, Tuple

from ..activation.delivery import GateOptions, default_python, deliver
from ..runtime.variant import probe_facts
from .descriptor import load_descriptor, read_documents
from .manifest import open_regular
from .receiver import Chunks, iter_chunks

CHANNEL = "offline"
"""The default channel of an archive."""


def install(file: Path, root: Path, options: GateOptions, channel: str = CHANNEL) -> Dict[str, Any]:
    """Install the release in an archive; return the result of `deliver`.

    Raises:
        DeviceError: the file is not such an archive, or the release did not pass.
    """

    def read(names: Collection[str], folder: str) -> Dict[str, bytes]:
        return {name: content for name, content in read_documents(file, folder).items() if name in names}

    def facts() -> Dict[str, Any]:
        return probe_facts(default_python(root), root)

    descriptor = load_descriptor(str(file), read, facts, options.accelerator)

    def fetch(missing: Set[str]) -> Chunks:
        return _chunks(file, missing)

    return deliver(root, descriptor, fetch, options, "install", channel)


def _chunks(file: Path, missing: Set[str]) -> Iterator[Tuple[str, bytes]]:
    with open_regular(file) as stream:
        yield from ((sha, content) for sha, content in iter_chunks(stream) if sha in missing)
