"""Debian packages, downloaded and unpacked into folders; needs no root and does not change the system.

apt-get downloads from this machine's own sources with the suite replaced, and checks the archive's signatures. The lists and
the status belong to an `Archive`; dpkg-deb unpacks. $DEBIAN_MIRROR names another mirror, $DEBIAN_SNAPSHOT a snapshot of one,
whose release files have expired.

    archive = Archive(folder, sources("trixie"), "arm64")
    unpack(archive.download(["busybox-static"]), folder / "root")
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from toolkit.errors import MachineError

KEYRINGS = tuple(Path("/usr/share/keyrings", f"debian-archive-keyring.{suffix}") for suffix in ("pgp", "gpg"))
PROGRAMS = ("apt-get", "dpkg-deb")
UNMAINTAINED = "bullseye"
"""A suite whose release files have expired. apt rejects expired ones otherwise, so that nobody offers yesterday's packages."""

_TIMEOUT_S = 900


def check_programs(programs: Sequence[str] = PROGRAMS) -> None:
    """Raise MachineError unless all of them are here."""
    lacking = [program for program in programs if shutil.which(program) is None]
    if lacking:
        raise MachineError(f"{' and '.join(lacking)} not found: this is not Debian")


def sources(
    suite: str, etc: Path = Path("/etc"), environment: Mapping[str, str] = os.environ, *, components: str = "main"
) -> str:
    """This machine's Debian sources, for `suite`, as one-line sources.

    Raises:
        MachineError: it has none, and $DEBIAN_MIRROR names none.
    """
    mirror = environment.get("DEBIAN_SNAPSHOT") or environment.get("DEBIAN_MIRROR")
    offered = [f"{mirror} {suite}"] if mirror else sorted(set(_offered(etc, suite)))
    if not offered:
        raise MachineError(
            "no source of Debian packages was found", where=str(etc / "apt"), remedy="set DEBIAN_MIRROR to a mirror"
        )
    keyring = [f"signed-by={path}" for path in KEYRINGS if path.exists()][:1]
    expired = environment.get("DEBIAN_SNAPSHOT") or suite == UNMAINTAINED
    options = " ".join([*(["check-valid-until=no"] if expired else []), *keyring])
    return "".join(f"deb {f'[{options}] ' if options else ''}{address} {components}\n" for address in offered)


def _offered(etc: Path, suite: str) -> Iterator[str]:
    """Each source of this very Debian release as "ADDRESS SUITE", the release replaced by `suite`."""
    described = dict(re.findall(r'^(\w+)="?([^"\n]*)', (etc / "os-release").read_text(), re.MULTILINE))
    if described.get("ID") != "debian":
        return
    release = re.compile(rf"{described['VERSION_CODENAME']}(-updates|-security)?")
    for path in sorted([etc / "apt/sources.list", *(etc / "apt/sources.list.d").glob("*.[ls]*")]):
        for address, offered in _entries(path):
            if release.fullmatch(offered):
                yield f"{address} {offered.replace(described['VERSION_CODENAME'], suite)}"


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


class Archive:
    """What apt-get can fetch for one architecture, with lists, cache and status of its own under `folder`.

    Every method raises MachineError with apt's own words when it fails.
    """

    def __init__(self, folder: Path, listed: str, architecture: str) -> None:
        (folder / "state/lists/partial").mkdir(parents=True)
        (folder / "cache/archives/partial").mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(listed, encoding="utf-8")
        self.folder = folder
        self._options = _options(folder, architecture)
        run_program([*self._apt("apt-get"), "update"], "reading the archive's lists", folder)

    def _apt(self, program: str) -> list[str]:
        return [program, "--quiet=2", *self._options]

    def download(self, names: Sequence[str]) -> list[Path]:
        """These packages alone."""
        packages = self.folder / "packages"
        packages.mkdir(exist_ok=True)
        run_program([*self._apt("apt-get"), "download", *names], "fetching packages", packages)
        return sorted(packages.glob("*.deb"))

    def download_closure(self, names: Sequence[str]) -> list[Path]:
        """These packages and all that they depend on."""
        argv = ["install", "--yes", "--download-only", "--no-install-recommends", *names]
        run_program([*self._apt("apt-get"), *argv], "fetching packages", self.folder)
        return sorted((self.folder / "cache/archives").glob("*.deb"))

    def dependencies(self, name: str) -> tuple[str, ...]:
        """The names of the packages that one depends on."""
        output = run_program(
            [*self._apt("apt-cache"), "depends", "--important", name], f"looking for {name}", self.folder
        )
        return tuple(re.findall(r"Depends: (\S+)", output))


def _options(folder: Path, architecture: str) -> list[str]:
    """What keeps apt to `folder`; proxies and keys are the machine's."""
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "APT::Architecture": architecture,
        "APT::Keep-Downloaded-Packages": "true",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def unpack(packages: Iterable[Path], folder: Path) -> None:
    """All of them beside one another."""
    for package in packages:
        run_program(["dpkg-deb", "--extract", str(package), str(folder)], "unpacking", package.parent)


def run_program(argv: Sequence[str], what: str, folder: Path) -> str:
    """What a program of Debian's prints; its errors are MachineErrors that begin with `what`."""
    environment = os.environ | {"LC_ALL": "C.UTF-8"}  # English, and names of files in any script
    try:
        done = subprocess.run(
            argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise MachineError(f"{what}: {argv[0]} did not end within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()[-1:]
        raise MachineError(f"{what}: {' '.join(line.removeprefix('E: ') for line in errors)}")
    return done.stdout
