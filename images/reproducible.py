"""Build images twice from scratch, in different folders at different times, and compare all digests.

    reproducible.py [TARGET…]      default: base-cross runner-cross

Each build has its own copy of the repository, freshly unpacked root filesystems, and no cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

import build  # noqa: E402, the folder of this file is known only now
import layout  # noqa: E402

PARTS = ("images", "requirements", "toolkit", "pyproject.toml")


def copy_sources(origin: Path, folder: Path) -> Path:
    """Copy the sources of images; every file gets the current time."""
    for part in PARTS:
        source, place = origin / part, folder / part
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, place)
    for script in [*folder.glob("images/*.sh")]:
        script.chmod(0o755)
    return folder


def build_from_nothing(targets: list[str], origin: Path, folder: Path) -> dict[str, dict[str, str]]:
    """Build without any cache in `folder`; return the digests of each target and platform."""
    sources = copy_sources(origin, folder / "sources")
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    digests: dict[str, dict[str, str]] = {}
    for target in targets:
        file = folder / f"{target}.tar"
        command = [sys.executable, str(sources / "images/build.py"), target, "--no-cache", "--provenance=false"]
        command += ["--set", f"{target}.output=type=oci,dest={file}"]
        done = subprocess.run(command, check=False, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            print("\n".join(done.stderr.splitlines()[-build.LAST_LINES :]), file=sys.stderr)
            raise SystemExit(f"reproducible: {target} could not be built")
        images = layout.Layout(file).images()
        digests |= {
            f"{target} {name}": {"manifest": image.digest, "config": image.config_digest}
            for name, image in images.items()
        }
        file.unlink()
    return digests


def main() -> int:
    """Build twice and print the comparison; return 1 if digests differ."""
    targets = sys.argv[1:] or ["base-cross", "runner-cross"]
    os.environ.setdefault("REVISION", build.revision())
    results = []
    with tempfile.TemporaryDirectory(prefix="origin-") as temporary:
        origin = copy_sources(build.REPOSITORY, Path(temporary))
        for name in ("first", "the-second-one"):
            with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
                began = time.monotonic()
                results.append(build_from_nothing(targets, origin, Path(folder)))
                print(f"reproducible: {name} build took {time.monotonic() - began:.0f} s", file=sys.stderr)
    first, second = results
    for name in sorted(first):
        same = "same" if first[name] == second.get(name) else "DIFFERENT"
        print(f"{name:28} {same}  {first[name]['manifest']}")
    return 0 if first == second else 1


if __name__ == "__main__":
    sys.exit(main())
