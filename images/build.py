"""Build container images: prepare their root filesystems, then let BuildKit build the targets of docker-bake.hcl.

    build.py [TARGET…] [BUILDX OPTION…]      e.g. build.py runner-cross --push, build.py all --no-cache

Options are passed to `docker buildx bake`. Environment variables: BASE and NCS2_BASE (another base image), REGISTRY, TAG,
SOURCE (the repository's address; default: git's remote), NCS2_ARCHIVE and NCS2_ARCHIVE_SHA256 (Intel's archive, for runner-ncs2-cross), CA (a CA bundle for builds behind a proxy; default:
the machine's), REPOSITORY (another folder with the sources, for the installed package), PIP_CONFIG (a pip.conf with another package index), DEBIAN_MIRROR, DEBIAN_SNAPSHOT, IMAGES_LOCKED=1 (fail if the
Debian packages differ from the locked ones), and all variables of the bake file.
"""

from __future__ import annotations

import json
import os
import platform as machines
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
REPOSITORY = Path(os.environ.get("REPOSITORY") or HERE.parent)
sys.path[:0] = [str(HERE), str(REPOSITORY)]

import layout  # noqa: E402, the folder of this file is known only now
import rootfs  # noqa: E402
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
ATTEMPTS = 3
"""How often a build runs that the engine fails, not the build; finished steps come from its cache."""
ENGINE_FAILURE = re.compile(
    r"parent snapshot sha256:[0-9a-f]{64} does not exist"  # its garbage collection removed a layer (moby/buildkit#6521)
    r"|DeadlineExceeded: context deadline exceeded"  # a part of it did not answer in time on a busy machine
)
LAST_LINES = 50
"""Lines at the end of buildx's output in which the cause of a failure stands."""
QUIETLY = ("--progress=quiet", "--provenance=false", "--sbom=false")
PLATFORMS = ("linux/amd64", "linux/arm64")
OWN = f"linux/{layout.ARCHITECTURES.get(machines.machine(), machines.machine())}"
BASE_DIGEST = "org.opencontainers.image.base.digest"
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
    epoch = environment.setdefault("SOURCE_DATE_EPOCH", _default("SOURCE_DATE_EPOCH"))
    environment.setdefault("IMAGES", str(HERE))
    if "VERSION" not in environment:  # an installed package has no pyproject.toml
        environment["VERSION"] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    environment.setdefault("REVISION", revision())
    environment.setdefault("SOURCE", public_address(_git("remote", "get-url", "origin")))
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


def _default(variable: str) -> str:
    """Return the default of a variable of the bake file."""
    text = (HERE / "docker-bake.hcl").read_text()
    return text.split(f'variable "{variable}" {{ default = "', 1)[1].split('"', 1)[0]


def revision() -> str:
    """Return the commit that is built, with -dirty if the sources of images differ from it."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", "images", "toolkit", "requirements", "pyproject.toml")
    return f"{commit}-dirty" if commit and changed else commit or "unknown"


def _git(*arguments: str) -> str:
    """Return what git prints about the checkout; empty without git or checkout."""
    try:
        done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def public_address(remote: str) -> str:
    """Return a git remote as an https address without account or password; empty for a folder."""
    match = re.fullmatch(
        r"(?:(?:https?|ssh|git)://)?(?:[^@/]*@)?([^@/:]+\.[^@/:]+)(?::\d+/|[:/])(.+?)(?:\.git)?/?", remote
    )
    return f"https://{match[1]}/{match[2]}" if match else ""


def bake(arguments: list[str], folder: Path | None = None) -> int:
    """Run buildx with `arguments` and return its exit code."""
    checked = subprocess.run([HERE / "engine.sh", "check"], check=False)
    if checked.returncode:
        return checked.returncode
    folder = folder or rootfs.cache_folder().parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    listed = any(target.endswith("-cross") or target == "all" for target in arguments)
    environment, printed = variables(folder, [*arguments, "sbom"] if listed else arguments)
    plan = json.loads(printed)
    with tempfile.TemporaryDirectory(prefix="build-") as temporary:
        file = Path(temporary, "described.json")
        file.write_text(json.dumps(described(plan, {})))
        digests = {base: _digests(base, file, environment) for base in sorted({*bases(plan).values()})}
        file.write_text(json.dumps(described(plan, digests)))
        if listed:
            environment.setdefault("SBOM", _generator(file, environment))
        return _buildx(["--file", str(file), *arguments], environment)


def bases(plan: dict[str, Any]) -> dict[str, str]:
    """Return the base of each image that has one: "target:NAME" of this plan, or "docker-image://NAME"."""
    contexts = {name: target.get("contexts", {}).get("base", "") for name, target in plan["target"].items()}
    return {name: base for name, base in contexts.items() if base.startswith(("target:", "docker-image:"))}


def described(plan: dict[str, Any], digests: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return a bake file that names each image's base, and repeats its labels as annotations.

    A digest of `digests` (base → platform → manifest) differs between platforms, so a Dockerfile picks it from BASE_DIGESTS.
    Annotations are those of each manifest and, with several platforms, of their index.
    """
    base_of = bases(plan)
    return {"target": {name: _described(plan, name, base_of.get(name, ""), digests) for name in plan["target"]}}


def _described(plan: dict[str, Any], name: str, base: str, digests: dict[str, dict[str, str]]) -> dict[str, Any]:
    target, of_base = plan["target"][name], digests.get(base, {})
    labels = {"org.opencontainers.image.base.name": base_name(plan, base)} if base else {}
    texts = [f"{key}={value}" for key, value in {**target.get("labels", {}), **labels}.items()]
    platforms = target.get("platforms", ())
    annotations = [f"{level}:{text}" for level in ("manifest", "index")[: max(1, len(platforms))] for text in texts]
    annotations += [f"manifest[{one}]:{BASE_DIGEST}={of_base[one]}" for one in platforms or [OWN] if one in of_base]
    entries = {"labels": labels, "annotations": annotations if target.get("tags") else []}
    if base:
        entries["args"] = {
            "BASE_DIGESTS": "".join(f"{one.partition('/')[2]}={of_base[one]}," for one in sorted(of_base))
        }
    return {key: value for key, value in entries.items() if value}


def base_name(plan: dict[str, Any], base: str) -> str:
    """Return the reference of a base image, without its digest."""
    kind, _, name = base.partition(":")
    return str(plan["target"][name]["tags"][0]) if kind == "target" else name.removeprefix("//").partition("@")[0]


def _digests(base: str, file: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return the manifest of a base for each platform: built first if it is ours, else as its reference names it."""
    kind, _, name = base.partition(":")
    if kind != "target":
        digest = name.partition("@")[2]
        return dict.fromkeys(PLATFORMS, digest) if digest else {}
    archive = file.with_name(f"{name}.tar")
    output = f"{name}.output=type=oci,dest={archive},{environment.get('COMPRESSION') or _default('COMPRESSION')}"
    code = _buildx(["--file", str(file), name, *QUIETLY, "--set", output], environment)
    if code:
        raise SystemExit(code)
    return {platform: image.digest for platform, image in layout.Layout(archive).images().items()}


def _generator(file: Path, environment: dict[str, str]) -> str:
    """Build and return the image that generates bills of materials, which multi-platform images carry."""
    code = _buildx(["--file", str(file), "sbom", *QUIETLY], environment)
    if code:
        raise SystemExit(code)
    return f"{environment.get('REGISTRY', 'edge-vision')}/sbom:{environment.get('TAG', 'dev')}"


def _buildx(arguments: list[str], environment: dict[str, str]) -> int:
    command = ["docker", "buildx", "bake", "--file", str(HERE / "docker-bake.hcl"), *arguments]
    for attempt in range(ATTEMPTS):
        code, output = _run(command, environment)
        failure = ENGINE_FAILURE.search(output)
        if code == 0 or failure is None or attempt == ATTEMPTS - 1:
            break
        print(f"build: the engine failed, not the build ({failure[0]}); trying again", file=sys.stderr)
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
