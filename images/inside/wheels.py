"""Install locked wheels for the image's platform on the building platform, without emulation.

    wheels.py OUTPUT SITE NAME…

Requirements that contain NAME go to the folder SITE under OUTPUT/NAME, all others to OUTPUT/rest, in parallel. Each becomes a
layer of its own: layers are compressed in parallel, and unchanged ones are not sent again.

Build arguments come from the environment, because the image has no shell: REQUIREMENTS names the lock file,
REQUIREMENTS_ARM64 another one for arm64; /run/context/leave-out.txt lists unused files; TARGETARCH, PYTHON_VERSION and
GLIBC_VERSION select the wheels. With WHEELS=emulated it installs for the platform it runs on, sequentially, as pip does: a
baseline for benchmarks.

Runs inside an image being built, on Python 3.9 and later. pip is a wheel file in /run/pip and never part of an image. The build
secret `ca` holds a CA bundle, the build secret `pip` a pip.conf with another package index.
"""

from __future__ import annotations

import fnmatch
import importlib
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bytecode

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
SECRETS = {"PIP_CERT": Path("/run/secrets/ca"), "PIP_CONFIG_FILE": Path("/run/secrets/pip")}
# Files that pip writes for its own later use; the image has no pip.
BOOKKEEPING = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def platform_tags(architecture: str, glibc: str) -> list[str]:
    """Return the wheel tags that a Debian with this glibc accepts, newest first."""
    machine, newest = MACHINES[architecture], int(glibc.split(".")[1])
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)]
    older = ["manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"] if machine == "x86_64" else []
    return [*tags, f"manylinux2014_{machine}", *older]


def load_pip() -> Callable[[list[str]], int]:
    """Load pip and return its command; forked processes need not load it again."""
    sys.path.insert(0, str(next(Path("/run/pip").glob("pip-*.whl"))))
    os.environ.update({name: str(path) for name, path in SECRETS.items() if path.exists()})
    importlib.import_module("pip._internal.commands.install")
    return importlib.import_module("pip._internal.cli.main").main  # type: ignore[no-any-return]


def install(pip: Callable[[list[str]], int], requirements: Path, output: Path) -> None:
    """Let pip install; exit with pip's code if it fails."""
    arguments = ["install", "--quiet", "--no-deps", "--no-compile", "--no-cache-dir"]
    arguments += ["--only-binary=:all:", "--require-hashes", "--disable-pip-version-check", "--root-user-action=ignore"]
    arguments += [
        "--retries=12",
        "--timeout=120",
        f"--target={output}",
        f"--requirement={requirements}",
        *cross_options(),
    ]
    code = pip(arguments)
    if code:
        sys.exit(code)


def split(lock: str, names: list[str]) -> dict[str, str]:
    """Group the requirements of a lock file, with hashes, by the first of `names` that each contains, or "rest"."""
    groups = dict.fromkeys([*names, "rest"], "")
    for requirement in re.findall(r"^[^\s#].*\n(?:[ \t].*\n?)*", lock, re.MULTILINE):
        project = re.split("[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        groups[next((name for name in names if name in project), "rest")] += requirement
    return groups


def cross_options() -> list[str]:
    """Return the options that make pip install for another platform."""
    if os.environ["WHEELS"] == "emulated":
        return []
    options = ["--implementation=cp", f"--python-version={os.environ['PYTHON_VERSION']}"]
    tags = platform_tags(os.environ["TARGETARCH"], os.environ["GLIBC_VERSION"])
    return [*options, *(f"--platform={tag}" for tag in tags)]


def remove_unused(folder: Path, patterns: list[str]) -> int:
    """Remove files that match a pattern, and pip's bookkeeping; return the bytes saved."""
    saved = 0
    for file in _files(folder):
        name = str(file.relative_to(folder))
        if file.name in BOOKKEEPING or any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            saved += file.lstat().st_size
            file.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return saved


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())


def read_patterns(file: Path) -> list[str]:
    """Read the patterns of a file, one per line; # starts a comment."""
    lines = (line.split("#", 1)[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


def fill(pip: Callable[[list[str]], int], lock: str, site: Path) -> None:
    """Install, remove unused files, compile the rest."""
    site.mkdir(parents=True)
    if lock:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(lock)
            file.flush()
            install(pip, Path(file.name), site)
    shutil.rmtree(site / "bin", ignore_errors=True)
    saved = remove_unused(site, read_patterns(Path("/run/context/leave-out.txt")))
    count = bytecode.compile_tree(site, site)
    bytecode.settle_times(site)
    print(f"wheels: {site}: removed {saved / 1e6:.0f} MB, compiled {count} files", file=sys.stderr)


def run_all(tasks: Sequence[Callable[[], None]], *, at_once: bool) -> None:
    """Run each task in a forked process; exit if one fails."""
    forks = [multiprocessing.get_context("fork").Process(target=task) for task in tasks]
    for fork in forks:
        fork.start()
        if not at_once:
            fork.join()
    for fork in forks:
        fork.join()
    if any(fork.exitcode for fork in forks):
        sys.exit("wheels: the installation failed; see the messages above")


def main() -> None:
    """Fill each folder from its part of the lock file."""
    output, place, names = Path(sys.argv[1]), sys.argv[2].lstrip("/"), sys.argv[3:]
    own = os.environ.get(f"REQUIREMENTS_{os.environ['TARGETARCH'].upper()}")
    groups = split((Path("/run/requirements") / (own or os.environ["REQUIREMENTS"])).read_text(), names)
    pip = load_pip()
    tasks = [partial(fill, pip, lock, output / name / place) for name, lock in groups.items()]
    run_all(tasks, at_once=os.environ["WHEELS"] != "emulated")


if __name__ == "__main__":
    main()
