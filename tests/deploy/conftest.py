"""A bundle made by hand: a network of five operations, its golden answers, its manifest."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toolkit import hashing
from toolkit.artifacts.fleet import Device
from toolkit.bundle.signing import sign_bundle
from toolkit.deploy import deploy
from toolkit.fleet.local_fleet.control import LocalFleet

from ..bundles import sealed
from ..fleet.ssh.servers import keygen, sshd

LABELS = ["dark", "light"]


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """make_bundle(name="tiny", bias=0.0, golden_shift=0.0, padding_bytes=0): its folder."""
    home = tmp_path_factory.mktemp("bundles")

    def make(name: str = "tiny", bias: float = 0.0, golden_shift: float = 0.0, padding_bytes: int = 0) -> Path:
        folder = home / f"{len(list(home.iterdir()))}"
        (folder / "golden").mkdir(parents=True)
        images = np.random.default_rng(5).integers(0, 256, (4, 8, 8, 3), np.uint8)
        answers = _write_model(folder, bias, images)
        np.save(folder / "golden/inputs.npy", images)
        np.save(folder / "golden/outputs.npy", answers + np.float32(golden_shift))
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
        if padding_bytes:
            (folder / "padding.bin").write_bytes(os.urandom(padding_bytes))
        return sealed(folder, _manifest(folder, name))

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle()


@pytest.fixture(scope="session")
def other_bundle(make_bundle: Callable[..., Path]) -> Path:
    """Another answer, so another release."""
    return make_bundle("other", bias=0.5)


@pytest.fixture(scope="session")
def serving(local_fleet: LocalFleet, bundle: Path) -> Callable[..., tuple[Device, ...]]:
    """serving(*devices): themselves, now serving `bundle`; deployed once, copied from then on."""
    first = replace(local_fleet.devices[0], root=f"{local_fleet.devices[0].root}-served")
    assert not deploy(bundle, (first,)).failed

    def serve(*devices: Device) -> tuple[Device, ...]:
        for device in devices:
            subprocess.run(["cp", "-a", first.root, device.root], check=True)
        return devices

    return serve


@pytest.fixture
def unreachable(devices: tuple[Device, ...]) -> Device:
    """A device at whose port nobody listens."""
    return replace(devices[0], name="unreachable", port=1)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SSH key that bundles are signed with."""
    path = tmp_path_factory.mktemp("keys") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture
def signed(tmp_path: Path, key: Path) -> Callable[[Path], Path]:
    """signed(bundle): a copy of it that is."""

    def make(bundle: Path) -> Path:
        copy = tmp_path / "signed" / bundle.name
        shutil.copytree(bundle, copy)
        sign_bundle(copy, key)
        return copy

    return make


@pytest.fixture(scope="session")
def openssh(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Device]]:
    """openssh(*settings): this machine behind an sshd of the test's own, for the length of a with-block."""

    @contextmanager
    def serve(*settings: str) -> Iterator[Device]:
        home = tmp_path_factory.mktemp("openssh")
        for name in ("host-ed25519", "client"):
            keygen("-t", "ed25519", "-N", "", "-f", home / name)
        (home / "authorized").write_text((home / "client.pub").read_text())
        with sshd(home, "openssh", ("ed25519",), ("Subsystem sftp internal-sftp", *settings)) as port:
            (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {(home / 'host-ed25519.pub').read_text()}")
            yield Device(
                name="openssh",
                host="127.0.0.1",
                port=port,
                user=getpass.getuser(),
                key_file=str(home / "client"),
                known_hosts=str(home / "known_hosts"),
                root=str(home / "opt toolkit"),
                python=sys.executable,
            )

    return serve


def _write_model(folder: Path, bias: float, images: np.ndarray) -> np.ndarray:
    """u8 [1,8,8,3] → mean per color → two logits → softmax; gives its answers in f32, [n,2]."""
    import openvino as ov
    from openvino import opset13 as ops

    image = ops.parameter([1, 8, 8, 3], np.uint8, name="image")
    means = ops.reduce_mean(ops.convert(image, np.float32), np.array([1, 2]))
    weights = np.array([[-0.02, 0.02], [-0.01, 0.03], [0.01, 0.0]], np.float32)
    logits = ops.add(ops.matmul(means, weights, False, False), np.array([0.0, bias], np.float32))
    model = ov.Model([ops.softmax(logits, 1)], [image], "tiny")
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([np.array(compiled(image[None])[0]) for image in images])


def _manifest(folder: Path, name: str) -> dict[str, object]:
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "format": 1,
        "name": name,
        "precision": "fp32",
        "target": "cpu",
        "labels": LABELS,
        "input": {"height": 8, "width": 8, "layout": "NHWC", "type": "u8", "color": "RGB", "crop": "resize"},
        "output": {"kind": "softmax", "classes": 2},
        "golden": {
            "count": 4,
            "tolerance": {"CPU": 1e-4},
            "inputs": "golden/inputs.npy",
            "outputs": "golden/outputs.npy",
        },
        "lineage": {},
        "versions": {},
        "parity": {},
        "files": {
            path: {"sha256": hashing.sha256_file(folder / path), "size_bytes": (folder / path).stat().st_size}
            for path in files
        },
    }
