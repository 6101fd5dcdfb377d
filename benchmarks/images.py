"""Images: how long they take to build, how large they are, and what a container costs a program inside it."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scores import Score, conclude

REPOSITORY = Path(__file__).resolve().parents[1]
BUDGETS = {"linux/arm64": 120e6, "linux/amd64": 150e6}
WARM_S = 5.0
REPETITIONS = 5
METHOD = (
    "`just bench images`, in one run. cold: the runner for arm64 upon the built base, nothing of its own cached, wheels "
    "installed across platforms; yardstick: the same under emulation, where they are installed one after the other, as by one pip; medians of three. warm: the runner after a change of one device module, median of three. "
    f"size: compressed layers. first inference: from the start of `python -m device golden` to its end, medians of {REPETITIONS}, "
    "inside the container against outside with the same wheels; the container is up already (creating it: {creation:.2f} s)."
)
# Run inside and outside alike: start the program some times, print how long each took.
TIMER = (
    "import json, subprocess, sys, time\ntimes = []\n"
    "for _ in range(int(sys.argv[1])):\n    began = time.monotonic()\n"
    "    subprocess.run([sys.executable, *sys.argv[2:]], check=True, stdout=subprocess.DEVNULL)\n"
    "    times.append(time.monotonic() - began)\nprint(json.dumps(times))\n"
)


def build(*arguments: str, **variables: str) -> float:
    """How many seconds `just build` takes with these arguments."""
    argv = [sys.executable, str(REPOSITORY / "images/build.py"), *arguments, "--progress=quiet", "--provenance=false"]
    began = time.monotonic()
    subprocess.run(argv, check=True, env=os.environ | {"TAG": "bench"} | variables, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def cold() -> Score:
    """Across platforms against emulated."""
    arguments = ("runner", "--set", "runner.platform=linux/arm64", "--set", "runner.no-cache=true")
    pairs = [(build(*arguments), build(*arguments, WHEELS="emulated")) for _ in range(3)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Score("images.cold", theirs / ours, 4.0, f"{ours:.1f} s", f"{theirs:.1f} s")


def warm(folder: Path) -> Score:
    """After a change of one module."""
    code = folder / "device"
    shutil.copytree(REPOSITORY / "toolkit/device", code, ignore=shutil.ignore_patterns("__pycache__"))
    context = ("--set", f"runner.contexts.device-code={code}")
    build("runner", *context)
    seconds = statistics.median(_changed(code, context) for _ in range(3))
    return Score("images.warm", WARM_S / seconds, 1.0, f"{seconds:.1f} s", f"{WARM_S:.0f} s")


def _changed(code: Path, context: tuple[str, ...]) -> float:
    with (code / "probe.py").open("a", encoding="utf-8") as module:
        module.write(f"# changed at {time.time()}\n")
    return build("runner", *context)


def sizes() -> list[Score]:
    """The compressed layers of each platform."""
    argv = [sys.executable, str(REPOSITORY / "images/layout.py"), "edge-vision/runner:dev"]
    facts = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    return [
        Score(
            f"images.size-{platform.partition('/')[2]}",
            budget / facts[platform]["compressed_bytes"],
            1.0,
            f"{facts[platform]['compressed_bytes'] / 1e6:.1f} MB",
            f"{budget / 1e6:.0f} MB",
        )
        for platform, budget in BUDGETS.items()
    ]


def first_inference(bundle: Path) -> tuple[Score, float]:
    """Inside against outside, and what creating a container takes."""
    command = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--volume", f"{bundle}:/bundle:ro"]
    command += ["--entrypoint", "python3", "edge-vision/runner:dev", "-c", TIMER, str(REPETITIONS)]
    began = time.monotonic()
    inside = _median([*command, "-m", "device", "golden", "/bundle"])
    creation = time.monotonic() - began - inside * REPETITIONS
    argv = [sys.executable, "-c", TIMER, str(REPETITIONS), "-m", "toolkit.device", "golden", str(bundle)]
    outside = _median(argv)
    return Score("images.first-inference", outside / inside, 1 / 1.1, f"{inside:.2f} s", f"{outside:.2f} s"), creation


def _median(argv: list[str]) -> float:
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    return float(statistics.median(json.loads(done.stdout)))


def make_bundle(folder: Path) -> Path:
    """A bundle with golden answers, of the same small network as benchmarks/device.py."""
    import numpy as np
    from device import prepared

    bundle = folder / "bundle"
    shutil.copytree(prepared(), bundle, ignore=shutil.ignore_patterns("images"))
    (bundle / "golden").mkdir()
    manifest = json.loads((bundle / "manifest.json").read_text())
    height, width = manifest["input"]["height"], manifest["input"]["width"]
    images = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    import openvino

    compiled = openvino.Core().compile_model(bundle / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.save(bundle / "golden/inputs.npy", images)
    np.save(bundle / "golden/outputs.npy", compiled(images)[0])
    manifest["golden"] |= {"inputs": "golden/inputs.npy", "outputs": "golden/outputs.npy"}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    for path in [folder, bundle, *bundle.rglob("*")]:
        path.chmod(0o755)
    return bundle


def main() -> int:
    """Measure, print, keep."""
    build("runner-cross", TAG="dev")
    with tempfile.TemporaryDirectory(prefix="images-benchmark-") as folder:
        inference, creation = first_inference(make_bundle(Path(folder)))
        scores = [cold(), warm(Path(folder)), *sizes(), inference]
    subprocess.run(
        ["docker", "rmi", "--force", "edge-vision/runner:bench", "edge-vision/base:bench"],
        check=False,
        capture_output=True,
    )
    return conclude("images", "Images", METHOD.format(creation=creation), scores)


if __name__ == "__main__":
    sys.exit(main())
