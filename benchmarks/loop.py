"""The loop from captures to a rollout: what it gains on frames that the first model was not taught, and how long it takes.

`just bench loop`: needs Debian's package dataset-fashion-mnist. Nine articles are taught well and one, the sandal, by two
images. Three devices of a local fleet then see nothing but sandals, and one round is timed: capture by the live app,
collect, label, retrain, run beside the serving model, roll out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from accuracy_data import FASHION_MNIST, Pools, read_pools
from scores import Score, conclude

from toolkit import deploy, train
from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.fleet import Device, ShadowRun
from toolkit.artifacts.labeling import CLASS, ModelComparison, Retraining
from toolkit.artifacts.model import TrainedModel
from toolkit.captures import collected
from toolkit.captures.collect import collect
from toolkit.deploy.gates.shadow_gate import ShadowOptions
from toolkit.experiment.load import load_experiment
from toolkit.experiment.schema import Experiment
from toolkit.fleet import connect, device_command
from toolkit.fleet.app_tunnel import APP_PORT
from toolkit.fleet.local_fleet import control
from toolkit.loop.clusters import queue_order
from toolkit.loop.decisions import Choice, record
from toolkit.loop.retrain import OLD, model_of, retrain
from toolkit.loop.versions import prepare_version
from toolkit.pipeline import choose_bundle, convert_models
from toolkit.progress import Progress, create_progress
from toolkit.store import Store
from toolkit.workspace import Workspace

HARD = "class5"
"""Fashion-MNIST's sandals."""
TAUGHT, TAUGHT_HARD, TESTED, JUDGED, SHOWN = 20, 2, 12, 80, 60
"""Images: of each class to train on, of the hard one, of each to test on; hard ones to judge on, and before each camera."""
LABELS, DEVICES, EDGE = 20, 3, 112
SHADOW = ShadowOptions(seconds=60, agreement=0.4, every=2, baseline_frames=40)
"""Both models learned from few images, so they may disagree on a third of what the first device usually sees."""
CAPTURES, PATIENCE_S = 15, 60.0
"""Captures of each device that are waited for, and for how long."""
GAIN, MOST_S = 0.2, 120.0
EXPERIMENT = """
name = "loop"
[data]
source = "folders"
path = "images"
[matrix]
networks = ["efficientnet_lite0"]
heads = ["softmax"]
[[stages]]
name = "top"
[networks.efficientnet_lite0]
input_size = 64
[convert]
precisions = ["fp16"]
tolerance = { fp16 = 0.05 }
[deploy]
batch = "1,100%"
health_s = 1
"""
METHOD = (
    "`just bench loop`: Fashion-MNIST, {taught} training images of nine classes and {hard} of sandals; EfficientNet-Lite0 at 64 pixels, "
    "top layers on cached features. Three local devices run the live app on {shown} sandals each and capture what they are unsure of, "
    "and one frame in ten; {captures} captures were collected and the {labels} least sure ones labeled by script. hard frames: accuracy "
    "on {judged} other sandals, the gain over 20 points. old test images: the upper end of the paired difference's 95 % interval is "
    "not below 0 (difference {difference:+.3f}, {low:+.3f} to {high:+.3f}, of {tested}). machine time: processor seconds of all "
    "processes from the first frame to the end of the gated rollout, against two minutes; by the clock {steps}, {seconds:.0f} s, with a "
    "load of {load:.0f} on two cores. Before the rollout, the new model ran beside the serving one on frames of the other classes: {shadow}. "
    "The devices are this machine."
)


@dataclass
class Timed:
    """How long each step took, in seconds."""

    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a with-block."""
        start = time.monotonic()
        yield
        self.steps[name] = time.monotonic() - start

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.steps.items())


@dataclass(frozen=True)
class Outcome:
    """What one round came to."""

    before: float
    after: float
    captures: int
    old: ModelComparison
    timed: Timed
    cpu_s: float
    shadow: ShadowRun


def write(images: Sequence[np.ndarray], folder: Path) -> None:
    """Write images as PNG files, enlarged so that a capture's JPEG does not blur them."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        large = cv2.resize(image, (EDGE, EDGE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number:04}.png"), large)


def write_data(pools: Pools, root: Path) -> None:
    """Write the experiment, its data, the frames of each camera, and the hard frames that judge both models."""
    for label, images in pools["train"].items():
        taught = TAUGHT_HARD if label == HARD else TAUGHT
        write(images[:taught], root / "images" / "train" / label)
        write(images[taught : taught + max(taught // 4, 1)], root / "images" / "validation" / label)
        write(pools["test"][label][:TESTED], root / "images" / "test" / label)
    for number in range(DEVICES):
        start = 100 + number * SHOWN
        write(pools["train"][HARD][start : start + SHOWN], root / "frames" / str(number))
    usual = [image for label, images in pools["train"].items() if label != HARD for image in images[200:208]]
    write(usual, root / "frames" / "usual")
    write(pools["test"][HARD][TESTED : TESTED + JUDGED], root / "judged")
    (root / "loop.toml").write_text(EXPERIMENT)


def roll_out(
    bundle: Path,
    devices: tuple[Device, ...],
    plan: Experiment,
    store: Store,
    progress: Progress,
    shadow: ShadowOptions | None = None,
) -> None:
    """Deploy with the experiment's gates."""
    result = deploy.deploy(
        bundle,
        devices,
        strategy=deploy.strategy_from_config(plan.deploy),
        gates=deploy.gates_from_config(plan.deploy, store, shadow, progress),
        store=store,
        progress=progress,
    )
    if result.failed:
        raise SystemExit(f"the rollout failed: {', '.join(map(str, result.failed.values()))}")


def first_model(plan: Experiment, workspace: Workspace, store: Store, progress: Progress) -> Path:
    """Train, convert and return the bundle's folder."""
    split = prepare_version(plan, workspace, store, progress)[1]
    models = train.train_trials(plan, tuple(plan.trials()), split, workspace, store, progress).models
    return workspace.absolute(choose_bundle(convert_models(plan, models, split, workspace, store, progress)).path)


@contextmanager
def live_app(device: Device, frames: Path) -> Iterator[int]:
    """Run the live app of a device's release on a folder of frames, and give its port."""
    folder = f"{device.root}/current"
    options = ("--port", "0", "--fps", "20", "--stop-on-eof", "--source", str(frames))
    command = device_command.in_runtime(device, folder, "serve", folder, *options)
    with connect(device) as shell, shell.background(command) as output:
        yield int(json.loads(output)["port"])


def capture(devices: Sequence[Device], root: Path) -> None:
    """Let the live app of each device see its frames until it has stored enough of them."""
    settings = {"policies": ["unsure", "random"], "margin": 0.5, "random_every": 10, "cool_down_s": 0}
    (root / "capture.json").write_text(json.dumps({"capture": settings}))
    with ExitStack() as apps:
        for number, device in enumerate(devices):
            command = [
                sys.executable,
                "-B",
                "-m",
                "device",
                "serve",
                f"{device.root}/current",
                "--port",
                "0",
                "--fps",
                "20",
            ]
            command += ["--source", str(root / "frames" / str(number)), "--capture", str(root / "capture.json")]
            app = subprocess.Popen(
                [*command, "--stop-on-eof"],
                cwd=f"{device.root}/current",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
            apps.enter_context(app)
            apps.callback(app.terminate)
        deadline = time.monotonic() + PATIENCE_S
        while any(len(list(Path(one.root).glob("captures/*/*.json"))) < CAPTURES for one in devices):
            if time.monotonic() > deadline:
                raise SystemExit(f"a device stored less than {CAPTURES} captures in {PATIENCE_S:.0f} s")
            time.sleep(0.2)


def label(store: Store) -> tuple[CapturedImage, ...]:
    """Label the least sure captures; returns all of them. Every frame is a sandal."""
    captures = collected(store)
    record(store, [Choice(one.digest, CLASS, HARD) for one in queue_order(captures, {})[:LABELS]], who="script")
    return captures


def accuracy(model: TrainedModel, workspace: Workspace, judged: Path) -> float:
    """The share of the hard frames that a model gets right."""
    answers = train.predict(workspace.absolute(model.path), sorted(judged.iterdir()))
    return sum(answer.ranking[0].label == HARD for answer in answers) / len(answers)


def cpu_s(workspace: Workspace) -> float:
    """Processor time of this process, of the local fleet's, and of their children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    server = json.loads((workspace.root / "fleet" / "server.pid").read_bytes())["pid"]
    ticks = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[11:15]
    return sum(one.ru_utime + one.ru_stime for one in used) + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def one_round(root: Path, progress: Progress) -> Outcome:
    """Set up the first model on the fleet, then time the loop."""
    workspace, plan, timed = Workspace(root / "workspace"), load_experiment(root / "loop.toml"), Timed()
    with Store(workspace.database) as store:
        bundle = first_model(plan, workspace, store, progress)
        devices = control.up(workspace, DEVICES).devices
        try:
            roll_out(bundle, devices, plan, store, progress)
            used = cpu_s(workspace)
            with timed.step("capture"):
                capture(devices, root)
            with timed.step("collect"):
                failed = collect(devices, workspace, store, progress=progress).errors
            if failed:
                raise SystemExit(f"not collected: {', '.join(map(str, failed.values()))}")
            captures = label(store)
            with timed.step("retrain"):
                result = retrain(plan, workspace, store, progress)
            if result is None or result.refused:
                raise SystemExit(f"no better model: {result.refused if result else 'nothing to learn'}")
            with timed.step("shadow and rollout"), live_app(devices[0], root / "frames" / "usual") as port:
                first = replace(devices[0], variables={**devices[0].variables, APP_PORT: port})
                new = workspace.absolute(f"bundles/{result.bundle}")
                roll_out(new, (first, *devices[1:]), plan, store, progress, SHADOW)
            (run,) = store.all(ShadowRun)
            used = cpu_s(workspace) - used
        finally:
            control.down(workspace)
        return judge(result, workspace, store, root, (len(captures), timed, used, run))


def judge(
    result: Retraining, workspace: Workspace, store: Store, root: Path, run: tuple[int, Timed, float, ShadowRun]
) -> Outcome:
    """Set both models' accuracy on the hard frames beside the comparison on the old test images."""
    serving, new = store.get(TrainedModel, result.serving), model_of(result.bundle, store)
    assert serving is not None
    assert new is not None
    before, after = (accuracy(model, workspace, root / "judged") for model in (serving, new))
    old = next(one for one in result.comparisons if one.images_of == OLD)
    return Outcome(before, after, run[0], old, *run[1:])


def main() -> int:
    """Run it once."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--fashion-mnist", type=Path, default=FASHION_MNIST, help="folder with the four idx files")
    options.add_argument("--dry", action="store_true", help="do not write docs/performance.md")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        write_data(
            read_pools("fashion-mnist", Workspace(Path(folder) / "workspace"), chosen.fashion_mnist), Path(folder)
        )
        outcome = one_round(Path(folder), create_progress())
    low, high = outcome.old.interval
    scores = (
        Score(
            "hard frames", (outcome.after - outcome.before) / GAIN, 1, f"{outcome.after:.1%}", f"{outcome.before:.1%}"
        ),
        Score("old test images", 1 + min(high, 0.0), 1, f"{outcome.old.new:.1%}", f"{outcome.old.serving:.1%}"),
        Score("machine time", MOST_S / outcome.cpu_s, 1, f"{outcome.cpu_s:.0f} s", f"{MOST_S:.0f} s"),
    )
    method = METHOD.format(
        taught=TAUGHT,
        hard=TAUGHT_HARD,
        shown=SHOWN,
        labels=LABELS,
        captures=outcome.captures,
        judged=JUDGED,
        difference=outcome.old.difference,
        low=low,
        high=high,
        tested=outcome.old.images,
        steps=outcome.timed,
        seconds=sum(outcome.timed.steps.values()),
        load=os.getloadavg()[2],
        shadow=outcome.shadow.reason,
    )
    print(method)
    return conclude("loop", "From captures to a rollout", method, scores, keep=not chosen.dry)


if __name__ == "__main__":
    sys.exit(main())
