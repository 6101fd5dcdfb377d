"""Make the root filesystem that the images stand on: Debian's packages unpacked by mmdebstrap, nothing run in it.

    rootfs.py RECIPE ARCHITECTURE [--output FOLDER] [--relock]

A recipe is images/base/RECIPE.toml; it is named for its suite, unless it names one.

No package is configured, so none of arm64's programs runs and no emulation is needed. apt checks the archive's
signatures; each package is compared with images/base/RECIPE-ARCHITECTURE.lock, too. The tar file is the same bit for bit
for the same packages; it is kept in $XDG_CACHE_HOME/edge-vision-toolkit/roots by the digest of all that goes into it.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ARCHITECTURES = ("amd64", "arm64")
USER_ID = 10001
MERGED = ("bin", "sbin", "lib", "lib64")
ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/root:/sbin/nologin\ntoolkit:x:{USER_ID}:{USER_ID}::/nonexistent:/sbin/nologin\n",
    "etc/group": f"root:x:0:\ntoolkit:x:{USER_ID}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
MISSING_MMDEBSTRAP = (
    "mmdebstrap makes the root filesystem and is not installed here: images/engine.sh install (root, Debian 12)"
)


@dataclass(frozen=True)
class Package:
    """One Debian package: its control fields as text, and what its archive is."""

    name: str
    version: str
    sha256: str
    control: str
    files: frozenset[str]

    @property
    def line(self) -> str:
        """Its line in the lock file."""
        return f"{self.name}={self.version} sha256:{self.sha256}"


@dataclass(frozen=True)
class Recipe:
    """What one root filesystem is made of."""

    name: str
    architecture: str
    epoch: int
    include: tuple[str, ...]
    drop: tuple[str, ...]
    leave_out: tuple[str, ...]
    main_only: bool = False
    other_suite: str = ""

    @property
    def suite(self) -> str:
        """The Debian suite whose packages it takes."""
        return self.other_suite or self.name

    @property
    def lock(self) -> Path:
        """The file that names every package with its digest."""
        return HERE / "base" / f"{self.name}-{self.architecture}.lock"

    @property
    def sources(self) -> str:
        """The Debian sources it is made from: this machine's own, for the suite."""
        lines = sources(self.suite).splitlines(keepends=True)
        return "".join(line for line in lines if not self.main_only or f" {self.suite} " in line)

    @property
    def digest(self) -> str:
        """The digest of all that goes into it."""
        parts = [
            Path(__file__).read_text(),
            repr(self),
            self.sources,
            self.lock.read_text() if self.lock.exists() else "",
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_recipe(name: str, architecture: str, epoch: int) -> Recipe:
    """The recipe of images/base/NAME.toml for one architecture."""
    table = tomllib.loads((HERE / "base" / f"{name}.toml").read_text())
    include, drop, leave_out = (tuple(table[key]) for key in ("include", "drop", "leave_out"))
    main_only = architecture in table.get("main_only", ())
    return Recipe(name, architecture, epoch, include, drop, leave_out, main_only, table.get("suite", ""))


def architectures(name: str) -> tuple[str, ...]:
    """Which architectures there is a recipe for: all, unless it names them."""
    table = tomllib.loads((HERE / "base" / f"{name}.toml").read_text())
    return tuple(table.get("architectures", ARCHITECTURES))


def sources(suite: str) -> str:
    """This machine's own Debian sources, for `suite`."""
    done = subprocess.run([HERE / "apt-source.sh", suite], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def cache_folder() -> Path:
    """Where root filesystems are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-vision-toolkit" / "roots"


def make(recipe: Recipe, output: Path | None = None, *, relock: bool = False) -> Path:
    """The tar file of `recipe`, made if it is not in the cache (or anew, into `output`)."""
    folder = output or cache_folder() / recipe.digest[:16]
    finished = folder / f"rootfs-{recipe.architecture}.tar"
    if finished.exists() and not relock:
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".root-", dir=folder) as temporary:
        unpacked, archives = _unpack(recipe, Path(temporary))
        packages = [read_package(path) for path in sorted(archives.glob("*.deb"))]
        kept = [package for package in packages if package.name not in recipe.drop]
        _check_lock(recipe, kept, relock=relock)
        made = Path(temporary) / "made.tar"
        write_root(recipe, unpacked, packages, made)
        made.replace(finished)
    return finished


def _unpack(recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    """Let mmdebstrap fetch and unpack; the tar file it makes, and the folder of the packages."""
    if shutil.which("mmdebstrap") is None:
        print(f"rootfs: {MISSING_MMDEBSTRAP}", file=sys.stderr)
        raise SystemExit(4)
    archives, unpacked = folder / "archives", folder / "unpacked.tar"
    archives.mkdir(mode=0o777)
    words = ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={recipe.architecture}"]
    words += [f"--include={','.join(recipe.include)}", '--aptopt=Acquire::Retries "3"']
    words += [f"--extract-hook=sync-out /var/cache/apt/archives {archives}", recipe.suite, str(unpacked), "-"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(recipe.epoch)}
    done = subprocess.run(words, input=recipe.sources, env=environment, text=True, check=False, capture_output=True)
    if done.returncode:
        print(
            f"rootfs: mmdebstrap could not make {recipe.suite} for {recipe.architecture}:\n{done.stderr}",
            file=sys.stderr,
        )
        raise SystemExit(4)
    return unpacked, archives


def read_package(path: Path) -> Package:
    """What the package at `path` is."""
    control = subprocess.run(["dpkg-deb", "--field", path], capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(": ", 1) for line in control.splitlines() if ": " in line and not line.startswith(" "))
    listing = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(listing)) as archive:
        files = frozenset(plain(member.name) for member in archive if not member.isdir())
    return Package(fields["Package"], fields["Version"], hashlib.sha256(path.read_bytes()).hexdigest(), control, files)


def _check_lock(recipe: Recipe, packages: list[Package], *, relock: bool) -> None:
    """Compare with the lock file: the archive moves on, and a build that differs must say so."""
    wanted = "".join(f"{package.line}\n" for package in packages)
    if relock:
        recipe.lock.write_text(wanted)
        return
    locked = recipe.lock.read_text() if recipe.lock.exists() else ""
    changed = sorted(set(wanted.splitlines()) ^ set(locked.splitlines()))
    if not changed:
        return
    print(f"rootfs: the archive has other packages than {recipe.lock.name}:", *changed, sep="\n  ", file=sys.stderr)
    print(
        "rootfs: `just lock-images` takes them; DEBIAN_MIRROR=a snapshot of the archive brings the old ones.",
        file=sys.stderr,
    )
    if os.environ.get("IMAGES_LOCKED") == "1":
        raise SystemExit(1)


def plain(name: str) -> str:
    """A path in an archive without its leading ./ ."""
    return name.removeprefix("./").rstrip("/")


def merged(name: str) -> str:
    """The path in a root filesystem where /bin, /sbin and /lib are links into /usr."""
    top = name.split("/", 1)[0]
    return f"usr/{name}" if top in MERGED else name


def wanted(recipe: Recipe, name: str) -> bool:
    """Whether the file belongs into the root filesystem: licenses stay, what only people read goes."""
    if name.startswith("usr/share/doc/"):
        return name.endswith("/copyright")
    return not any(fnmatch.fnmatch(name, pattern) for pattern in recipe.leave_out)


def write_root(recipe: Recipe, unpacked: Path, packages: list[Package], output: Path) -> None:
    """Write the root filesystem: what is wanted of `unpacked`, accounts, and a record of each package."""
    kept = [package for package in packages if package.name not in recipe.drop]
    ours = {name for package in kept for name in package.files}
    unwanted = {name for package in packages if package.name in recipe.drop for name in package.files} - ours
    entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(unpacked) as archive:
        for member in archive:
            name = plain(member.name)
            if name and name not in unwanted and name not in MERGED and wanted(recipe, name):
                entries[merged(name)] = (member, _content(archive, member))
    entries |= {
        name: _link(f"usr/{name}") for name in MERGED if any(entry.startswith(f"usr/{name}/") for entry in entries)
    }
    written = ACCOUNTS | {f"var/lib/dpkg/status.d/{package.name}": package.control for package in kept}
    written["etc/ssl/certs/ca-certificates.crt"] = _certificates(entries)
    entries |= {name: _text(text) for name, text in written.items()}
    _write_tar(entries, recipe.epoch, output)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a file; a hard link becomes a file of its own."""
    if not (member.isreg() or member.islnk()):
        return b""
    content = archive.extractfile(member)
    member.type, member.linkname = tarfile.REGTYPE, ""
    return content.read() if content else b""


def _certificates(entries: dict[str, tuple[tarfile.TarInfo, bytes]]) -> str:
    """The bundle that ca-certificates makes when it is configured."""
    prefix = "usr/share/ca-certificates/"
    return "".join(
        content.decode()
        for name, (_, content) in sorted(entries.items())
        if name.startswith(prefix) and name.endswith(".crt")
    )


def _link(target: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo()
    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
    return info, b""


def _text(text: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo()
    info.mode = 0o644
    return info, text.encode()


def _write_tar(entries: dict[str, tuple[tarfile.TarInfo, bytes]], epoch: int, output: Path) -> None:
    """Write `entries` in order of their names, parents first, empty folders left out but for the usual ones."""
    folders = {"proc", "sys", "dev", "run", "tmp", "root", "home", "var/tmp"}
    for name, (info, _) in entries.items():
        if not info.isdir():
            folders |= {"/".join(name.split("/")[:depth]) for depth in range(1, name.count("/") + 1)}
    with tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(folders | {name for name, (info, _) in entries.items() if not info.isdir()}):
            info, content = entries.get(name) or _folder()
            info.name, info.size, info.mtime = name, len(content), min(info.mtime or epoch, epoch)
            info.uname = info.gname = ""
            info.pax_headers = {}
            archive.addfile(info, io.BytesIO(content))


def _folder() -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo()
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info, b""


def main() -> None:
    """Print the path of the root filesystem that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=sorted(path.stem for path in (HERE / "base").glob("*.toml")))
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("--output", type=Path, help="make it anew into this folder, past the cache")
    parser.add_argument("--relock", action="store_true", help="write the lock file from what the archive has now")
    parser.add_argument("--epoch", type=int, default=1760000000, help="SOURCE_DATE_EPOCH: no file is newer")
    given = parser.parse_args()
    print(make(read_recipe(given.recipe, given.architecture, given.epoch), given.output, relock=given.relock))


if __name__ == "__main__":
    main()
