"""One fetch from a registry, in a process of its own; `pull.py` runs it. Prints the seconds that it took.

python benchmarks/pull_step.py CHANNEL FOLDER          the documents and chunks of a release, as a device's first pull
python benchmarks/pull_step.py CHANNEL FOLDER DIGEST   one blob
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from toolkit.device.release import store
from toolkit.device.release.oci_registry import parse_reference
from toolkit.device.release.pull import download_chunks, fetch_descriptor


def main(channel: str, folder: str, digest: str = "") -> int:
    """Fetch and print."""
    place = Path(folder)
    registry = parse_reference(channel)
    started = time.perf_counter()
    if digest:
        registry.blob(digest)
    else:
        manifest = registry.manifest()
        descriptor = fetch_descriptor(registry, manifest, place, "CPU")
        digests = {sha for file in descriptor.layout["files"] for sha, _, _ in store.chunks_of(file)}
        if set(download_chunks(registry, manifest, digests, place)) != digests:
            sys.exit("chunks are missing")
    print(time.perf_counter() - started)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
