"""Python 3.9 out of Debian 11's packages, unpacked into the user's cache: needs no root and changes nothing of the system.

apt-get fetches the packages of bullseye.lock from this machine's own Debian sources, with the suite replaced ($DEBIAN_MIRROR
names another mirror, or a snapshot of one), and checks the archive's signatures; dpkg-deb unpacks them beside one another. They
run on the machine's own C library. The cache is $XDG_CACHE_HOME/edge-vision-toolkit/bullseye/ and the lock's digest.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from toolkit import digests, wheels
from toolkit.errors import MachineError
from toolkit.progress import Progress

SUITE = "bullseye"
VERSION = "3.9"
LOCK = Path(__file__).with_name("bullseye.lock")
LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")

_KEYRINGS = tuple(Path("/usr/share/keyrings", f"debian-archive-keyring.{suffix}") for suffix in ("pgp", "gpg"))
_TIMEOUT_S = 900
_STARTER = """#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
LD_LIBRARY_PATH={libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} exec "$root/usr/bin/python{version}" "$@"
"""


def bullseye_python(progress: Progress) -> Path:
    """An interpreter of Python 3.9, made the first time.

    Raises:
        MachineError: this is no Debian on x86-64, or its packages cannot be fetched; says why.
    """
    folder = wheels.cache_folder().parent / SUITE / digests.of_file(LOCK)
    starter = folder / "bin" / f"python{VERSION}"
    if not starter.exists():
        _make(folder, progress)
    return starter


def _make(folder: Path, progress: Progress) -> None:
    _check_machine()
    listed = sources()
    folder.parent.mkdir(parents=True, exist_ok=True)
    progress.say(f"unpacking Python {VERSION} from the packages of Debian 11")
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as beside:
        new = Path(beside) / "new"
        for package in _fetch(Path(beside), listed, progress):
            _run(["dpkg-deb", "--extract", str(package), str(new)], "unpacking", Path(beside))
        (new / "bin").mkdir()
        starter = new / "bin" / f"python{VERSION}"
        libraries = ":".join(f"$root/{library}" for library in LIBRARIES)
        starter.write_text(_STARTER.format(libraries=libraries, version=VERSION))
        starter.chmod(0o755)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # another process was first: its folder is the same
                raise


def _check_machine() -> None:
    machine = (platform.system(), platform.machine())
    if machine != ("Linux", "x86_64"):
        raise MachineError(f"Debian 11's Python is unpacked on Linux on x86-64 only; this is {' on '.join(machine)}")
    lacking = [program for program in ("apt-get", "dpkg-deb") if shutil.which(program) is None]
    if lacking:
        raise MachineError(f"{' and '.join(lacking)} not found: this is no Debian")


def sources(etc: Path = Path("/etc"), environment: Mapping[str, str] = os.environ) -> str:
    """This machine's Debian sources, for Debian 11, as one-line sources.

    Raises:
        MachineError: it has none, and $DEBIAN_MIRROR names none.
    """
    mirror = environment.get("DEBIAN_MIRROR")
    offered = [f"{mirror} {SUITE}"] if mirror else sorted(set(_offered(etc)))
    if not offered:
        raise MachineError(
            "no source of Debian packages was found", where=str(etc / "apt"), remedy="set DEBIAN_MIRROR to a mirror"
        )
    keyring = next((f" signed-by={path}" for path in _KEYRINGS if path.exists()), "")
    return "".join(f"deb [check-valid-until=no{keyring}] {address} main\n" for address in offered)


def _offered(etc: Path) -> Iterator[str]:
    """Each source of this very Debian release as "ADDRESS SUITE", the release replaced by Debian 11."""
    described = dict(re.findall(r'^(\w+)="?([^"\n]*)', (etc / "os-release").read_text(), re.MULTILINE))
    if described.get("ID") != "debian":
        return
    release = re.compile(rf"{described['VERSION_CODENAME']}(-updates|-security)?")
    for path in sorted([etc / "apt/sources.list", *(etc / "apt/sources.list.d").glob("*.[ls]*")]):
        for address, suite in _entries(path):
            if release.fullmatch(suite):
                yield f"{address} {suite.replace(described['VERSION_CODENAME'], SUITE)}"


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """Address and suite of each binary source in a file, in either of apt's two forms."""
    text = "\n".join(line for line in _text(path).splitlines() if not line.startswith("#"))
    for line in re.findall(r"^deb\s+(?:\[[^\]]*\]\s*)?(\S+\s+\S+)", text, re.MULTILINE):
        address, suite = line.split()
        yield address, suite
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(URIs|Suites):\s*(.*)$", stanza, re.MULTILINE))
        for address in fields.get("URIs", "").split():
            for suite in fields.get("Suites", "").split():
                yield address, suite


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _fetch(folder: Path, listed: str, progress: Progress) -> list[Path]:
    """The packages, as the archive signs them; that one differs from the lock is told and no error."""
    lock = dict(line.split(" sha256:") for line in LOCK.read_text(encoding="utf-8").splitlines())
    apt = _apt(folder, listed)
    _run([*apt, "update"], "reading the archive's lists", folder)
    packages = folder / "packages"
    packages.mkdir()
    names = sorted(line.partition("=")[0] for line in lock)
    _run([*apt, "download", *names], "fetching packages", packages)
    found = sorted(packages.glob("*.deb"))
    others = [path.name for path in found if digests.of_file(path) not in lock.values()]
    if others:
        progress.say(f"signed by the archive, but not those that {LOCK.name} names: {', '.join(others)}")
    return found


def _apt(folder: Path, listed: str) -> list[str]:
    """apt-get with lists, cache and status of its own; proxies and keys are the machine's."""
    (folder / "state/lists/partial").mkdir(parents=True)
    (folder / "cache/archives/partial").mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(listed, encoding="utf-8")
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    return ["apt-get", "--quiet=2", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]


def _run(words: Sequence[str], what: str, folder: Path) -> None:
    environment = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise MachineError(f"{what}: {words[0]} did not end within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()[-1:]
        raise MachineError(f"{what}: {' '.join(line.removeprefix('E: ') for line in said)}")
