"""Build the root filesystems of the base images: Debian packages unpacked by mmdebstrap, without running anything in them.

    rootfs.py RECIPE ARCHITECTURE [--output FOLDER] [--relock]

A recipe is images/base/RECIPE.toml, named after its suite unless it sets one.

No package is configured, so no arm64 program runs and no emulation is needed. apt checks the archive's signatures, and each
package is compared with images/base/RECIPE-ARCHITECTURE.lock. The same packages give the same tar file bit for bit; it is
cached in $XDG_CACHE_HOME/edge-vision-toolkit/roots by the digest of all inputs.
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
    f"mmdebstrap, which builds root filesystems, is not installed: {HERE}/engine.sh install (root, Debian 12)"
)


NO_SPACE = "No space left on device"
LINES = 6
"""Most lines of mmdebstrap's messages that are shown."""


@dataclass(frozen=True)
class Package:
    """One Debian package: its control fields as text, and its files."""

    name: str
    version: str
    sha256: str
    control: str
    files: frozenset[str]

    @property
    def line(self) -> str:
        """Line of the lock file."""
        return f"{self.name}={self.version} sha256:{self.sha256}"


@dataclass(frozen=True)
class Recipe:
    """Inputs of one root filesystem."""

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
        """Debian suite of its packages."""
        return self.other_suite or self.name

    @property
    def lock(self) -> Path:
        """Lock file with the digest of every package."""
        return HERE / "base" / f"{self.name}-{self.architecture}.lock"

    @property
    def sources(self) -> str:
        """Debian sources of the suite, from this machine's configuration."""
        lines = sources(self.suite).splitlines(keepends=True)
        return "".join(line for line in lines if not self.main_only or f" {self.suite} " in line)

    @property
    def digest(self) -> str:
        """Digest of all inputs."""
        parts = [
            Path(__file__).read_text(),
            repr(self),
            self.sources,
            self.lock.read_text() if self.lock.exists() else "",
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_recipe(name: str, architecture: str, epoch: int) -> Recipe:
    """Read images/base/NAME.toml for one architecture."""
    table = tomllib.loads((HERE / "base" / f"{name}.toml").read_text())
    include, drop, leave_out = (tuple(table[key]) for key in ("include", "drop", "leave_out"))
    main_only = architecture in table.get("main_only", ())
    return Recipe(name, architecture, epoch, include, drop, leave_out, main_only, table.get("suite", ""))


def architectures(name: str) -> tuple[str, ...]:
    """Return the architectures of a recipe: all, unless it lists them."""
    table = tomllib.loads((HERE / "base" / f"{name}.toml").read_text())
    return tuple(table.get("architectures", ARCHITECTURES))


def sources(suite: str) -> str:
    """Return this machine's Debian sources for `suite`."""
    done = subprocess.run([HERE / "apt-source.sh", suite], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def cache_folder() -> Path:
    """Return the cache folder of root filesystems."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-vision-toolkit" / "roots"


def build(recipe: Recipe, output: Path | None = None, *, relock: bool = False) -> Path:
    """Return the tar file of `recipe`, from the cache if it is there (with `output`: built into that folder)."""
    folder = output or cache_folder() / recipe.digest[:16]
    finished = folder / f"rootfs-{recipe.architecture}.tar"
    if finished.exists() and not relock:
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".root-", dir=folder) as temporary:
        unpacked, archives = _unpack(recipe, Path(temporary))
        packages = [read_package(path) for path in sorted(archives.glob("*.deb"))]
        included = [package for package in packages if package.name not in recipe.drop]
        _check_lock(recipe, included, relock=relock)
        made = Path(temporary) / "made.tar"
        write_root(recipe, unpacked, packages, made)
        made.replace(finished)
    return finished


def _unpack(recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    """Let mmdebstrap download and unpack; return its tar file and the folder of packages."""
    if shutil.which("mmdebstrap") is None:
        print(f"rootfs: {MISSING_MMDEBSTRAP}", file=sys.stderr)
        raise SystemExit(4)
    archives, unpacked = folder / "archives", folder / "unpacked.tar"
    archives.mkdir(mode=0o777)
    # Not --quiet, which keeps back why apt failed.
    command = ["mmdebstrap", "--variant=extract", f"--architectures={recipe.architecture}"]
    command += [f"--include={','.join(recipe.include)}", '--aptopt=Acquire::Retries "3"']
    command += [f"--extract-hook=sync-out /var/cache/apt/archives {archives}", recipe.suite, str(unpacked), "-"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(recipe.epoch)}
    done = subprocess.run(command, input=recipe.sources, env=environment, text=True, check=False, capture_output=True)
    if done.returncode:
        what = f"rootfs: mmdebstrap could not build {recipe.suite} for {recipe.architecture}:"
        print("\n".join([what, *causes(done.stderr), f"rootfs: {_remedy(done.stderr, folder)}"]), file=sys.stderr)
        raise SystemExit(4)
    return unpacked, archives


def causes(errors: str) -> list[str]:
    """Return the lines of mmdebstrap's messages that name a cause, each once; the last lines if none does."""
    lines = [line.strip() for line in errors.splitlines()]
    named = [line for line in lines if line.startswith("E:") or NO_SPACE in line]
    return list(dict.fromkeys(named))[:LINES] or lines[-LINES:]


def _remedy(errors: str, folder: Path) -> str:
    if NO_SPACE in errors:
        places = f"{folder.parent} (XDG_CACHE_HOME) and {tempfile.gettempdir()} (TMPDIR)"
        return f"free space in {places}, or name folders with room by these variables"
    if "Failed to fetch" in errors:
        return (
            "check that this machine's Debian sources answer (apt-get update), or set DEBIAN_MIRROR to another mirror"
        )
    return "the lines above are apt's and mmdebstrap's own"


def read_package(path: Path) -> Package:
    """Read the package file at `path`."""
    control = subprocess.run(["dpkg-deb", "--field", path], capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(": ", 1) for line in control.splitlines() if ": " in line and not line.startswith(" "))
    listing = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(listing)) as archive:
        files = frozenset(plain(member.name) for member in archive if not member.isdir())
    return Package(fields["Package"], fields["Version"], hashlib.sha256(path.read_bytes()).hexdigest(), control, files)


def _check_lock(recipe: Recipe, packages: list[Package], *, relock: bool) -> None:
    """Compare with the lock file and report differences: the archive changes over time."""
    is_included = "".join(f"{package.line}\n" for package in packages)
    if relock:
        recipe.lock.write_text(is_included)
        return
    locked = recipe.lock.read_text() if recipe.lock.exists() else ""
    changed = sorted(set(is_included.splitlines()) ^ set(locked.splitlines()))
    if not changed:
        return
    print(f"rootfs: the packages of the archive differ from {recipe.lock.name}:", *changed, sep="\n  ", file=sys.stderr)
    print(
        "rootfs: `just lock-images` locks the new ones; DEBIAN_SNAPSHOT=ADDRESS of a snapshot brings back the old ones.",
        file=sys.stderr,
    )
    if os.environ.get("IMAGES_LOCKED") == "1":
        raise SystemExit(1)


def plain(name: str) -> str:
    """Strip the leading ./ of a path in an archive."""
    return name.removeprefix("./").rstrip("/")


def merged(name: str) -> str:
    """Return the path in a root filesystem where /bin, /sbin and /lib are links into /usr."""
    top = name.split("/", 1)[0]
    return f"usr/{name}" if top in MERGED else name


def is_included(recipe: Recipe, name: str) -> bool:
    """Whether the file belongs in the root filesystem: licenses do, documentation does not."""
    if name.startswith("usr/share/doc/"):
        return name.endswith("/copyright")
    return not any(fnmatch.fnmatch(name, pattern) for pattern in recipe.leave_out)


def write_root(recipe: Recipe, unpacked: Path, packages: list[Package], output: Path) -> None:
    """Write the root filesystem: the included files of `unpacked`, accounts, and a record of each package."""
    included = [package for package in packages if package.name not in recipe.drop]
    included_files = {name for package in included for name in package.files}
    unwanted = {name for package in packages if package.name in recipe.drop for name in package.files} - included_files
    entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(unpacked) as archive:
        for member in archive:
            name = plain(member.name)
            if name and name not in unwanted and name not in MERGED and is_included(recipe, name):
                entries[merged(name)] = (member, _content(archive, member))
    entries |= {
        name: _link(f"usr/{name}") for name in MERGED if any(entry.startswith(f"usr/{name}/") for entry in entries)
    }
    written = ACCOUNTS | {f"var/lib/dpkg/status.d/{package.name}": package.control for package in included}
    written["etc/ssl/certs/ca-certificates.crt"] = _certificates(entries)
    entries |= {name: _text(text) for name, text in written.items()}
    _write_tar(entries, recipe.epoch, output)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Bytes of a file; a hard link becomes a file of its own."""
    if not (member.isreg() or member.islnk()):
        return b""
    content = archive.extractfile(member)
    member.type, member.linkname = tarfile.REGTYPE, ""
    return content.read() if content else b""


def _certificates(entries: dict[str, tuple[tarfile.TarInfo, bytes]]) -> str:
    """The bundle that ca-certificates generates when it is configured."""
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
    """Write `entries` sorted by name, parents first, without empty folders except the standard ones."""
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
    """Print the path of the requested root filesystem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=sorted(path.stem for path in (HERE / "base").glob("*.toml")))
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("--output", type=Path, help="build into this folder instead of the cache")
    parser.add_argument("--relock", action="store_true", help="update the lock file to the archive's current packages")
    parser.add_argument(
        "--epoch", type=int, default=1760000000, help="SOURCE_DATE_EPOCH, the upper limit of file times"
    )
    args = parser.parse_args()
    print(build(read_recipe(args.recipe, args.architecture, args.epoch), args.output, relock=args.relock))


if __name__ == "__main__":
    main()
