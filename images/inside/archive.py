"""Unpack what a device needs from Intel's OpenVINO archive for arm64, after checking its SHA-256.

    archive.py FOLDER OUTPUT

FOLDER holds one file, l_openvino_toolkit_…_arm64.tgz; ARCHIVE_SHA256 in the environment is its SHA-256. Unpacked are the
bindings for Python 3.9, the runtime with its MYRIAD plugin and the stick's firmware, TBB and the licenses.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import sys
import tarfile
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bytecode

NEEDED = ("python/python3.9/", "runtime/lib/aarch64/")
UNPACKED = (*NEEDED, "runtime/3rdparty/tbb/lib/", "licensing/")
UNUSED = ("*_frontend.so*", "*.a", "*.cmake", "*/pcie-ma2x8x.mvcmd", "*/libopenvino_c.so*", "*/openvino/tools/*")
READERS = ("*libopenvino_ir_frontend.so*",)


def unpack(archive: Path, output: Path) -> None:
    """Unpack the used files into `output`, without the top folder; exit with a message if required ones are missing."""
    present = set()
    with tarfile.open(archive) as packed:
        for member in packed:
            name = str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))
            prefix = next((prefix for prefix in UNPACKED if name.startswith(prefix)), None)
            if prefix is None or member.isdir() or not is_used(name):
                continue
            present.add(prefix)
            _write(packed, member, output, name)
    missing = [prefix for prefix in NEEDED if prefix not in present]
    if missing:
        sys.exit(f"archive: {archive.name} has no {', '.join(missing)}: is it Intel's OpenVINO 2022.3.2 for arm64?")


def is_used(name: str) -> bool:
    """Whether a device uses the file. Of the model format readers, it uses only that of IR."""
    if any(fnmatch.fnmatch(name, pattern) for pattern in READERS):
        return True
    return not any(fnmatch.fnmatch(name, pattern) for pattern in UNUSED)


def _write(packed: tarfile.TarFile, member: tarfile.TarInfo, output: Path, name: str) -> None:
    place = output / name
    if ".." in PurePosixPath(name).parts or (member.issym() and member.linkname.startswith(("/", ".."))):
        sys.exit(f"archive: {member.name} points out of the archive")
    place.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        place.symlink_to(member.linkname)
        return
    content = packed.extractfile(member)
    if content is None:
        sys.exit(f"archive: {member.name} is neither a file nor a link within its folder")
    with place.open("wb") as stream:
        shutil.copyfileobj(content, stream)
    place.chmod(0o755 if member.mode & 0o100 else 0o644)


def check(folder: Path, sha256: str) -> Path:
    """Return the archive in `folder`; exit with a message unless there is exactly one with this SHA-256."""
    archives = sorted(folder.glob("*.tgz"))
    if len(archives) != 1:
        sys.exit(f"archive: exactly one .tgz is needed, and {len(archives)} are there")
    digest = hashlib.sha256()
    with archives[0].open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != sha256:
        sys.exit(
            f"archive: {archives[0].name} has the SHA-256 {digest.hexdigest()}, and {sha256 or 'none'} was expected: "
            "the download is damaged, or it is another file"
        )
    return archives[0]


def main() -> None:
    """Check, unpack, compile."""
    output = Path(sys.argv[2])
    unpack(check(Path(sys.argv[1]), os.environ.get("ARCHIVE_SHA256", "")), output)
    bytecode.compile_tree(output, output)
    bytecode.settle_times(output)


if __name__ == "__main__":
    main()
