"""What the tests of every package may ask for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.workspace import Workspace

from .bundles import sealed

if TYPE_CHECKING:
    from toolkit.fleet.local_fleet import control

# Quiet and small before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["TOOLKIT_CONFIG"] = ""  # the defaults of the user who runs the tests are not read


# Tests share the machine with others, so an example has no time limit of its own; a test has.
with suppress(ModuleNotFoundError):  # it is not among the packages of the device's tests
    from hypothesis import settings

    settings.register_profile("toolkit", deadline=None)
    settings.load_profile("toolkit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of the longest time limits, so that no worker is still busy when all others are done."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return

    def time_limit(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return float(marker.args[0]) if marker else 0

    items.sort(key=time_limit, reverse=True)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def local_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control.LocalFleet]:
    """Three devices behind real SSH servers, in a process of their own that ends with the tests."""
    from toolkit.fleet.local_fleet import control  # not where only the packages for training are installed

    workspace = Workspace(tmp_path_factory.mktemp("local-fleet"))
    try:
        yield control.up(workspace, 3)
    finally:
        control.down(workspace)


@pytest.fixture
def devices(local_fleet: control.LocalFleet, tmp_path: Path) -> tuple[Device, ...]:
    """The local fleet's devices, each bare: with a root of this test's own."""
    return tuple(replace(device, root=f"{device.root}-{tmp_path.name}") for device in local_fleet.devices)


@pytest.fixture
def write_inventory(local_fleet: control.LocalFleet, tmp_path: Path) -> Callable[..., Path]:
    """write_inventory(devices, **extra variables of all): an inventory file that lists them."""
    import yaml

    def write(devices: tuple[Device, ...], **extra: object) -> Path:
        original = yaml.safe_load(local_fleet.inventory.read_text())["local_fleet"]
        hosts = {
            device.name: {"ansible_host": device.host, "ansible_port": device.port, "toolkit_root": device.root}
            for device in devices
        }
        path = tmp_path / "fleet.yml"
        path.write_text(yaml.safe_dump({"local_fleet": {"hosts": hosts, "vars": original["vars"] | extra}}))
        return path

    return write


CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright."""
    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def contrasts() -> str:
    """A script that gives a page's texts of too little contrast."""
    return Path(__file__).with_name("contrasts.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Aftermath:
    """Holds what a test's marker `fault(what, serves=…, reports=…)` promises; docs/reliability.md is generated from those."""

    serves: str
    reports: str

    def hold(
        self, devices: Sequence[Device], old: Path | None, new: Path, message: object, heal: Callable[[], object]
    ) -> None:
        """The release named by the marker is complete and serves on each of `devices`, `message` matches the marker's pattern,
        and `heal`, the next run, brings all of them to `new`. `old` and `new` are bundles' folders; `old` None is nothing.
        """
        named = {"old": old.name if old else None, "new": new.name}
        allowed = {named[word] for word in self.serves.split(" or ")}
        actual = {device.name: serving_whole(device) for device in devices}
        assert set(actual.values()) <= allowed, actual
        assert re.search(self.reports, str(message)), message
        heal()
        actual = {device.name: serving_whole(device) for device in devices}
        assert set(actual.values()) == {new.name}, actual


def serving_whole(device: Device) -> str | None:
    """The bundle that a device of the local fleet serves, every byte of the release being right; None if it serves nothing."""
    from toolkit.device.release.verify import verify

    current = Path(device.root) / "current"
    if not current.is_symlink():
        return None
    bad = [problem for problem in verify(current)["problems"] if "sig" not in problem.partition(":")[0]]
    assert not bad, (device.name, bad)
    return str(json.loads((current / "release.json").read_bytes())["bundle"])


@pytest.fixture
def aftermath(request: pytest.FixtureRequest) -> Aftermath:
    """What is to be held after the fault that the test's marker names."""
    mark = request.node.get_closest_marker("fault")
    return Aftermath(**mark.kwargs)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real bundle that answers in microseconds: u8 [1, 32, 32, 3] in, (dark, light) by brightness out; IR v10, so
    that every era of OpenVINO reads it. Copy it, do not change it.
    """
    import numpy as np
    import openvino

    from toolkit import hashing

    folder = tmp_path_factory.mktemp("bundle")
    (folder / "golden").mkdir()
    model = _brightness_model()
    openvino.serialize(model, folder / "model.xml", folder / "model.bin", version="IR_V10")
    inputs = (
        np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
        // np.arange(1, 9)[:, None, None, None]
    )
    inputs = inputs.astype(np.uint8)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.save(folder / "golden" / "inputs.npy", inputs)
    np.save(folder / "golden" / "outputs.npy", np.stack([compiled(one[None])[0][0] for one in inputs]))
    (folder / "labels.txt").write_text("dark\nlight\n")
    manifest = {
        "format": 1,
        "name": "tiny-softmax-top-fp32",
        "precision": "fp32",
        "target": "cpu",
        "labels": ["dark", "light"],
        "input": {"height": 32, "width": 32, "layout": "NHWC", "type": "u8", "color": "RGB", "crop": "resize"},
        "output": {"kind": "softmax", "classes": 2},
        "golden": {
            "count": 8,
            "tolerance": {"CPU": 1e-3},
            "inputs": "golden/inputs.npy",
            "outputs": "golden/outputs.npy",
        },
        "lineage": {"ir": "1" * 64, "model": "2" * 64, "split": "3" * 64},
        "versions": {},
        "parity": {},
        "files": {
            path.relative_to(folder).as_posix(): {
                "sha256": hashing.sha256_file(path),
                "size_bytes": path.stat().st_size,
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    return sealed(folder, manifest)


def _brightness_model() -> Any:
    """A convolution that averages, the mean over all places, and a sharp decision in the middle."""
    import numpy as np
    import openvino
    from openvino import opset1 as ops

    image = ops.parameter([1, 32, 32, 3], np.uint8, name="image")
    scaled = ops.divide(ops.convert(image, "f32"), np.float32(255))
    planes = ops.transpose(scaled, np.array([0, 3, 1, 2], np.int64))
    kernel = np.full((4, 3, 3, 3), 1 / 27, np.float32)
    features = ops.relu(ops.convolution(planes, kernel, [2, 2], [0, 0], [0, 0], [1, 1]))
    brightness = ops.reduce_mean(features, np.array([2, 3], np.int64), keep_dims=False)
    weights = np.array([[-5, 5]] * 4, np.float32)
    logits = ops.add(ops.matmul(brightness, weights, False, False), np.array([[9.5, -9.5]], np.float32))
    return openvino.Model([ops.result(ops.softmax(logits, 1))], [image], "tiny")
