"""Download a Debian source package, check the archive's signature, and compare it with images/libusb/NAME.lock.

    sources.py NAME SUITE [--relock]

apt-get downloads from this machine's Debian sources without changing its configuration. The cache is
$XDG_CACHE_HOME/edge-vision-toolkit/sources, keyed by the digest of the lock file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def fetch(name: str, suite: str, *, relock: bool = False) -> Path:
    """Return the folder of the source package, from the cache if it is there."""
    lock = HERE / "libusb" / f"{name}.lock"
    locked = lock.read_text() if lock.exists() else ""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-vision-toolkit" / "sources"
    finished = base / f"{name}-{hashlib.sha256(locked.encode()).hexdigest()[:16]}"
    if finished.is_dir() and not relock:
        return finished
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".source-", dir=base) as temporary:
        files = Path(temporary) / "files"
        files.mkdir()
        _download(name, suite, Path(temporary), files)
        fetched = "".join(f"{file.name} sha256:{_sha256(file)}\n" for file in sorted(files.iterdir()))
        if relock:
            lock.write_text(fetched)
            return fetch(name, suite)
        if fetched != locked:
            _fail(
                f"the source package of the archive differs from {lock.name}:\n{fetched}",
                f"sources.py {name} {suite} --relock",
            )
        if not finished.is_dir():
            files.replace(finished)
    return finished


def _download(name: str, suite: str, state: Path, output: Path) -> None:
    """Let apt-get download and verify, with package lists of its own."""
    lines = subprocess.run([HERE / "apt-source.sh", suite], stdout=subprocess.PIPE, text=True, check=False)
    if lines.returncode:
        raise SystemExit(lines.returncode)
    (state / "sources.list").write_text(lines.stdout.replace("deb ", "deb-src ", 1).replace("\ndeb ", "\ndeb-src "))
    (state / "lists" / "partial").mkdir(parents=True)
    options = [f"Dir::Etc::SourceList={state}/sources.list", "Dir::Etc::SourceParts=/dev/null"]
    options += [f"Dir::State::Lists={state}/lists", "APT::Sandbox::User=root", "Acquire::Retries=3"]
    apt = ["apt-get", "--quiet=2", *(word for option in options for word in ("--option", option))]
    for arguments in (["update"], ["source", "--download-only", name]):
        done = subprocess.run([*apt, *arguments], cwd=output, capture_output=True, text=True, check=False)
        if done.returncode:
            _fail(
                f"apt-get {arguments[0]} failed:\n{done.stderr}", "check the Debian sources of this machine (/etc/apt)"
            )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _fail(what: str, remedy: str) -> None:
    print(f"sources: {what}\nsources: {remedy}", file=sys.stderr)
    raise SystemExit(4)


def main() -> None:
    """Print the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("suite")
    parser.add_argument("--relock", action="store_true", help="update the lock file to the archive's current source")
    args = parser.parse_args()
    print(fetch(args.name, args.suite, relock=args.relock))


if __name__ == "__main__":
    main()
