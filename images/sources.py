"""Fetch a Debian source package, signed by the archive and compared with images/libusb/NAME.lock: for what is built anew.

    sources.py NAME SUITE [--relock]

apt-get fetches with this machine's own Debian sources; nothing of the machine's apt is changed. What was fetched is kept in
$XDG_CACHE_HOME/edge-vision-toolkit/sources by the digest of the lock file.
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
    """The folder with the files of the source package, fetched if it is not in the cache."""
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
        found = "".join(f"{file.name} sha256:{_sha256(file)}\n" for file in sorted(files.iterdir()))
        if relock:
            lock.write_text(found)
            return fetch(name, suite)
        if found != locked:
            _refuse(f"the archive has another source than {lock.name}:\n{found}", f"sources.py {name} {suite} --relock")
        if not finished.is_dir():
            files.replace(finished)
    return finished


def _download(name: str, suite: str, state: Path, output: Path) -> None:
    """Let apt-get fetch and verify, with lists of its own."""
    lines = subprocess.run([HERE / "apt-source.sh", suite], stdout=subprocess.PIPE, text=True, check=False)
    if lines.returncode:
        raise SystemExit(lines.returncode)
    (state / "sources.list").write_text(lines.stdout.replace("deb ", "deb-src ", 1).replace("\ndeb ", "\ndeb-src "))
    (state / "lists" / "partial").mkdir(parents=True)
    options = [f"Dir::Etc::SourceList={state}/sources.list", "Dir::Etc::SourceParts=/dev/null"]
    options += [f"Dir::State::Lists={state}/lists", "APT::Sandbox::User=root", "Acquire::Retries=3"]
    apt = ["apt-get", "--quiet=2", *(word for option in options for word in ("--option", option))]
    for words in (["update"], ["source", "--download-only", name]):
        done = subprocess.run([*apt, *words], cwd=output, capture_output=True, text=True, check=False)
        if done.returncode:
            _refuse(f"apt-get {words[0]} failed:\n{done.stderr}", "look at the machine's own Debian sources")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _refuse(what: str, remedy: str) -> None:
    print(f"sources: {what}\nsources: {remedy}", file=sys.stderr)
    raise SystemExit(4)


def main() -> None:
    """Print the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("suite")
    parser.add_argument("--relock", action="store_true", help="write the lock file from what the archive has now")
    given = parser.parse_args()
    print(fetch(given.name, given.suite, relock=given.relock))


if __name__ == "__main__":
    main()
