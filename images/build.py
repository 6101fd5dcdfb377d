"""Build images: make what they stand on, then let BuildKit build the targets of docker-bake.hcl.

    build.py [TARGET…] [BUILDX OPTION…]      e.g. build.py runner-cross --push, build.py all --no-cache

Options go to `docker buildx bake`. These variables say more: BASE, NCS2_BASE (another base image), REGISTRY, TAG, CA (a file
of certificates for builds behind a proxy; the machine's own by default), PIP_CONFIG (a pip.conf with an index of one's own),
DEBIAN_MIRROR, IMAGES_LOCKED=1 (other Debian packages than the locked ones are an error), and every variable of the bake file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(HERE), str(REPOSITORY)]

import rootfs  # noqa: E402, the folder of this file is known only now

from toolkit.wheels import Wheel, fetch_wheel  # noqa: E402

ARCHITECTURES = ("amd64", "arm64")
# It installs the other wheels and never enters an image; the last one that runs on Python 3.9, too.
PIP = Wheel(
    "pip", "25.3", "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd", "pip-25.3-py3-none-any.whl"
)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def gather_roots(folder: Path, epoch: int) -> Path:
    """The folder with one folder per suite, as the bake file expects it; made from the cache of root filesystems."""
    for suite in ("bookworm", "bullseye"):
        (folder / suite).mkdir(parents=True, exist_ok=True)
        for architecture in ARCHITECTURES:
            made = rootfs.make(rootfs.read_recipe(suite, architecture, epoch))
            _hold(made, folder / suite / made.name)
    return folder


def _hold(made: Path, place: Path) -> None:
    """Give `made` the name `place` as well, without a copy and without touching it when it is there."""
    if place.exists() and place.samefile(made):
        return
    place.unlink(missing_ok=True)
    place.hardlink_to(made)


def variables(folder: Path) -> dict[str, str]:
    """What the bake file cannot know by itself; what the user has set wins."""
    given = dict(os.environ)
    epoch = given.setdefault("SOURCE_DATE_EPOCH", _default_epoch())
    given.setdefault("IMAGES", str(HERE))
    given.setdefault("VERSION", tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"])
    given.setdefault("REVISION", revision())
    given.setdefault("PIP", str(fetch_wheel(PIP).parent))
    given.setdefault("ROOTS", str(gather_roots(folder / "roots-by-suite", int(epoch))))
    if CERTIFICATES.exists():
        given.setdefault("CA", str(CERTIFICATES))
    return given


def _default_epoch() -> str:
    text = (HERE / "docker-bake.hcl").read_text()
    return text.split('variable "SOURCE_DATE_EPOCH" { default = "', 1)[1].split('"', 1)[0]


def revision() -> str:
    """The commit that is built, with -dirty when the files that images are made of differ from it."""
    git = ["git", "-C", str(REPOSITORY)]
    parts = ["images", "toolkit", "requirements", "pyproject.toml"]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", *parts], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def bake(arguments: list[str], folder: Path | None = None) -> int:
    """Run buildx with `arguments`; its exit code."""
    found = subprocess.run([HERE / "engine.sh", "check"], check=False)
    if found.returncode:
        return found.returncode
    folder = folder or rootfs.cache_folder().parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    given = variables(folder)
    if any(target.endswith("-cross") or target == "all" for target in arguments):
        given.setdefault("SBOM", _generator(given))
    return _buildx(arguments, given)


def _generator(given: dict[str, str]) -> str:
    """The image that makes bills of materials, built here; images for other machines carry one."""
    code = _buildx(["sbom", "--progress=quiet", "--provenance=false"], given)
    if code:
        raise SystemExit(code)
    return f"{given.get('REGISTRY', 'edge-vision')}/sbom:{given.get('TAG', 'dev')}"


def _buildx(arguments: list[str], given: dict[str, str]) -> int:
    words = ["docker", "buildx", "bake", "--file", str(HERE / "docker-bake.hcl"), *arguments]
    return subprocess.run(words, cwd=REPOSITORY, env=given, check=False).returncode


if __name__ == "__main__":
    sys.exit(bake(sys.argv[1:]))
