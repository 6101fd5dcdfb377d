"""Build images: make what they stand on, then let BuildKit build the targets of docker-bake.hcl.

    build.py [TARGET…] [BUILDX OPTION…]      e.g. build.py runner-cross --push, build.py all --no-cache

Options go to `docker buildx bake`. These variables say more: BASE, NCS2_BASE (another base image), REGISTRY, TAG, NCS2_ARCHIVE and
NCS2_ARCHIVE_SHA256 (Intel's archive, for runner-ncs2-cross), CA (a file of certificates for builds behind a proxy; the
machine's own by default), PIP_CONFIG (a pip.conf with an index of one's own), DEBIAN_MIRROR, IMAGES_LOCKED=1 (other Debian packages than the locked ones are an error), and every variable of the bake file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(HERE), str(REPOSITORY)]

import rootfs  # noqa: E402, the folder of this file is known only now
import sources  # noqa: E402

from toolkit.system.wheel_cache import Wheel, fetch_wheel  # noqa: E402

# It installs the other wheels and never enters an image; the last one that runs on Python 3.9, too.
PIP = Wheel(
    "pip", "25.3", "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd", "pip-25.3-py3-none-any.whl"
)
NO_ARCHIVE = """\
build: runner-ncs2 for arm64 needs Intel's archive of OpenVINO 2022.3.2, which no package index has. Fetch
build:   l_openvino_toolkit_debian9_2022.3.2.9279.e2c7e4d7b4d_arm64.tgz
build: from Intel's storage of OpenVINO packages, and say where it is and what its SHA-256 is:
build:   NCS2_ARCHIVE=FILE NCS2_ARCHIVE_SHA256=… just build runner-ncs2-cross
build: Without it, `just build runner-ncs2` makes the image for amd64."""
AT_ONCE = 3
"""So many root filesystems are fetched and unpacked side by side: each waits for the archive half of the time."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def gather_roots(folder: Path, epoch: int, names: list[str]) -> None:
    """One folder per recipe, as the bake file expects it; made from the cache of root filesystems, several at a time."""
    recipes = [
        rootfs.read_recipe(name, architecture, epoch) for name in names for architecture in rootfs.architectures(name)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for recipe, made in zip(recipes, pool.map(rootfs.make, recipes), strict=True):
            (folder / recipe.name).mkdir(parents=True, exist_ok=True)
            _hold(made, folder / recipe.name / made.name)


def _hold(made: Path, place: Path) -> None:
    """Give `made` the name `place` as well, without a copy and without touching it when it is there."""
    if place.exists() and place.samefile(made):
        return
    place.unlink(missing_ok=True)
    place.hardlink_to(made)


def variables(folder: Path, arguments: list[str]) -> tuple[dict[str, str], str]:
    """What the bake file cannot know by itself for the targets among `arguments`, and the plan made with it.

    What the user has set wins.
    """
    given = dict(os.environ)
    epoch = given.setdefault("SOURCE_DATE_EPOCH", _default_epoch())
    given.setdefault("IMAGES", str(HERE))
    given.setdefault("VERSION", tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"])
    given.setdefault("REVISION", revision())
    given.setdefault("PIP", str(fetch_wheel(PIP).parent))
    given.setdefault("ROOTS", str(folder / "roots"))
    plan = _plan(arguments, given)
    roots = [path.stem for path in sorted((HERE / "base").glob("*.toml"))]
    gather_roots(Path(given["ROOTS"]), int(epoch), [name for name in roots if f'{given["ROOTS"]}/{name}"' in plan])
    if "/libusb/Dockerfile" in plan:
        given.setdefault("LIBUSB", str(sources.fetch("libusb-1.0", "bookworm")))
    if "runner-ncs2-cross" in arguments:
        given.setdefault("ARCHIVE", str(_hold_archive(given, folder / "archive")))
    if CERTIFICATES.exists():
        given.setdefault("CA", str(CERTIFICATES))
    return given, plan


def _plan(arguments: list[str], given: dict[str, str]) -> str:
    """What buildx would build with these arguments, as JSON: it says which contexts are needed."""
    words = ["docker", "buildx", "bake", "--file", str(HERE / "docker-bake.hcl"), "--print", *arguments]
    done = subprocess.run(words, cwd=REPOSITORY, env=given, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def _hold_archive(given: dict[str, str], folder: Path) -> Path:
    """A folder that holds Intel's archive alone: a build context; exits with what to do when it is not given."""
    archive = Path(given.get("NCS2_ARCHIVE", ""))
    if not archive.is_file() or not re.fullmatch("[0-9a-f]{64}", given.get("NCS2_ARCHIVE_SHA256", "")):
        print(NO_ARCHIVE, file=sys.stderr)
        raise SystemExit(2)
    place = folder / given["NCS2_ARCHIVE_SHA256"] / archive.name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(archive, place)
    return place.parent


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
    listed = any(target.endswith("-cross") or target == "all" for target in arguments)
    given, plan = variables(folder, [*arguments, "sbom"] if listed else arguments)
    if listed:
        given.setdefault("SBOM", _generator(given))
    with tempfile.NamedTemporaryFile("w", prefix="annotations-", suffix=".json") as file:
        json.dump(annotations(json.loads(plan)), file)
        file.flush()
        return _buildx(["--file", file.name, *arguments], given)


def annotations(plan: dict[str, Any]) -> dict[str, Any]:
    """A bake file that says an image's labels once more where registries look: in each manifest and, with several, their index."""
    return {
        "target": {
            name: {"annotations": [f"{level}:{label}" for level in _levels(target) for label in _labels(target)]}
            for name, target in plan["target"].items()
            if target.get("tags")
        }
    }


def _levels(target: dict[str, Any]) -> tuple[str, ...]:
    return ("manifest", "index") if len(target.get("platforms", ())) > 1 else ("manifest",)


def _labels(target: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in target.get("labels", {}).items()]


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
