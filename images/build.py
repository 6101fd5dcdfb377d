"""Build container images: prepare their root filesystems, then let BuildKit build the targets of docker-bake.hcl.

    build.py [TARGET…] [BUILDX OPTION…]      e.g. build.py runner-cross --push, build.py all --no-cache

Options are passed to `docker buildx bake`. Environment variables: BASE and NCS2_BASE (another base image), REGISTRY, TAG,
NCS2_ARCHIVE and NCS2_ARCHIVE_SHA256 (Intel's archive, for runner-ncs2-cross), CA (a CA bundle for builds behind a proxy; default:
the machine's), PIP_CONFIG (a pip.conf with another package index), DEBIAN_MIRROR, DEBIAN_SNAPSHOT, IMAGES_LOCKED=1 (fail if the
Debian packages differ from the locked ones), and all variables of the bake file.
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
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(HERE), str(REPOSITORY)]

import rootfs  # noqa: E402, the folder of this file is known only now
import sources  # noqa: E402

from toolkit.system.wheel_cache import Wheel, fetch_wheel  # noqa: E402

# Installs the other wheels and is part of no image; the last version for Python 3.9.
PIP = Wheel(
    "pip", "25.3", "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd", "pip-25.3-py3-none-any.whl"
)
NO_ARCHIVE = """\
build: runner-ncs2 for arm64 needs Intel's archive of OpenVINO 2022.3.2, which no package index has. Fetch
build:   l_openvino_toolkit_debian9_2022.3.2.9279.e2c7e4d7b4d_arm64.tgz
build: from Intel's storage of OpenVINO packages, and pass its path and SHA-256:
build:   NCS2_ARCHIVE=FILE NCS2_ARCHIVE_SHA256=… just build runner-ncs2-cross
build: Without it, `just build runner-ncs2` builds the image for amd64."""
PARALLEL_ROOTS = 3
"""Root filesystems fetched and unpacked in parallel: each waits for the archive half of the time."""
EXPORTS = 3
"""Attempts to store images whose layers the engine's garbage collection removes while it unpacks them."""
LOST_SNAPSHOT = re.compile(r"parent snapshot sha256:[0-9a-f]{64} does not exist")
LAST_LINES = 50
"""Lines at the end of buildx's output in which the cause of a failure stands."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def link_roots(folder: Path, epoch: int, names: list[str]) -> None:
    """Link the cached root filesystems into one folder per recipe, as the bake file expects; build missing ones."""
    recipes = [
        rootfs.read_recipe(name, architecture, epoch) for name in names for architecture in rootfs.architectures(name)
    ]
    with ThreadPoolExecutor(PARALLEL_ROOTS) as pool:
        for recipe, made in zip(recipes, pool.map(rootfs.build, recipes), strict=True):
            (folder / recipe.name).mkdir(parents=True, exist_ok=True)
            _link(made, folder / recipe.name / made.name)


def _link(made: Path, place: Path) -> None:
    """Hard-link `made` as `place`, unless it is there already."""
    if place.exists() and place.samefile(made):
        return
    place.unlink(missing_ok=True)
    place.hardlink_to(made)


def variables(folder: Path, arguments: list[str]) -> tuple[dict[str, str], str]:
    """Return the bake file's variables that depend on the machine, and the resulting plan for the targets in `arguments`.

    Variables that the user has set take precedence.
    """
    environment = dict(os.environ)
    epoch = environment.setdefault("SOURCE_DATE_EPOCH", _default_epoch())
    environment.setdefault("IMAGES", str(HERE))
    environment.setdefault("VERSION", tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"])
    environment.setdefault("REVISION", revision())
    environment.setdefault("PIP", str(fetch_wheel(PIP).parent))
    environment.setdefault("ROOTS", str(folder / "roots"))
    plan = _plan(arguments, environment)
    roots = [path.stem for path in sorted((HERE / "base").glob("*.toml"))]
    link_roots(
        Path(environment["ROOTS"]), int(epoch), [name for name in roots if f'{environment["ROOTS"]}/{name}"' in plan]
    )
    if "/libusb/Dockerfile" in plan:
        environment.setdefault("LIBUSB", str(sources.fetch("libusb-1.0", "bookworm")))
    if "runner-ncs2-cross" in arguments:
        environment.setdefault("ARCHIVE", str(_stage_archive(environment, folder / "archive")))
    if CERTIFICATES.exists():
        environment.setdefault("CA", str(CERTIFICATES))
    return environment, plan


def _plan(arguments: list[str], environment: dict[str, str]) -> str:
    """Return what buildx would build with these arguments, as JSON; it names the required contexts."""
    command = ["docker", "buildx", "bake", "--file", str(HERE / "docker-bake.hcl"), "--print", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout


def _stage_archive(environment: dict[str, str], folder: Path) -> Path:
    """Return a build context that holds only Intel's archive; exit with instructions if it is not given."""
    archive = Path(environment.get("NCS2_ARCHIVE", ""))
    if not archive.is_file() or not re.fullmatch("[0-9a-f]{64}", environment.get("NCS2_ARCHIVE_SHA256", "")):
        print(NO_ARCHIVE, file=sys.stderr)
        raise SystemExit(2)
    place = folder / environment["NCS2_ARCHIVE_SHA256"] / archive.name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(archive, place)
    return place.parent


def _default_epoch() -> str:
    text = (HERE / "docker-bake.hcl").read_text()
    return text.split('variable "SOURCE_DATE_EPOCH" { default = "', 1)[1].split('"', 1)[0]


def revision() -> str:
    """Return the commit that is built, with -dirty if the sources of images differ from it."""
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
    """Run buildx with `arguments` and return its exit code."""
    checked = subprocess.run([HERE / "engine.sh", "check"], check=False)
    if checked.returncode:
        return checked.returncode
    folder = folder or rootfs.cache_folder().parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    listed = any(target.endswith("-cross") or target == "all" for target in arguments)
    environment, plan = variables(folder, [*arguments, "sbom"] if listed else arguments)
    if listed:
        environment.setdefault("SBOM", _generator(environment))
    with tempfile.NamedTemporaryFile("w", prefix="annotations-", suffix=".json") as file:
        json.dump(annotations(json.loads(plan)), file)
        file.flush()
        return _buildx(["--file", file.name, *arguments], environment)


def annotations(plan: dict[str, Any]) -> dict[str, Any]:
    """Return a bake file that repeats the labels as annotations of each manifest and, with several platforms, of their index."""
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


def _generator(environment: dict[str, str]) -> str:
    """Build and return the image that generates bills of materials, which multi-platform images carry."""
    code = _buildx(["sbom", "--progress=quiet", "--provenance=false"], environment)
    if code:
        raise SystemExit(code)
    return f"{environment.get('REGISTRY', 'edge-vision')}/sbom:{environment.get('TAG', 'dev')}"


def _buildx(arguments: list[str], environment: dict[str, str]) -> int:
    command = ["docker", "buildx", "bake", "--file", str(HERE / "docker-bake.hcl"), *arguments]
    for attempt in range(EXPORTS):
        code, output = _run(command, environment)
        if code == 0 or not LOST_SNAPSHOT.search(output) or attempt == EXPORTS - 1:
            break
        print(
            "build: the engine lost a layer while it stored an image (moby/buildkit#6521); trying again",
            file=sys.stderr,
        )
    return code


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run `command` and return its exit code and the end of its messages.

    On a terminal, buildx draws its progress itself, so there the messages are not read and the text is empty.
    """
    if sys.stderr.isatty():
        return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode, ""
    end: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            sys.stderr.write(line)
            sys.stderr.flush()
            end.append(line)
    return process.returncode, "".join(end)


if __name__ == "__main__":
    sys.exit(bake(sys.argv[1:]))
