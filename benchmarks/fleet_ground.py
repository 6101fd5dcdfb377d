"""What `just bench fleet` deploys on: an OpenSSH server under many addresses of loopback, a folder for each, and bundles.

Each name is an address of its own (127.1.0.1 …), so that neither contender reaches several devices through one connection. Each
has the same stand-in for its interpreter: what a probe asks takes OpenVINO a second, which a fleet's devices spend on processors
of their own, and here would be spent on the controller's; so the facts of one real probe are given back. All else is run.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset8 as ops

from toolkit import hashing
from toolkit.bundle.create import file_entries
from toolkit.fleet.transfer.tree import DEVICE_CODE

PYTHON = "/usr/bin/python3"
CONFIG = """
Port {port}
HostKey {home}/host
AuthorizedKeysFile {home}/client.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 1000
LogLevel FATAL
SetEnv SHLVL=2
Subsystem sftp internal-sftp
"""
"""SHLVL keeps bash from reading this machine's ~/.bashrc, which it does for commands over SSH."""
STAND_IN = """#!/bin/sh
if [ "$1 $2" = "-B -" ]; then cat >/dev/null; exec cat {facts}; fi
exec {python} "$@"
"""
LISTEN_MOST = 16
"""On how many addresses one sshd listens (MAX_LISTEN_SOCKS): so many devices share a process of the server."""
CHANNELS = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
"""Of MobileNet's layers."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The server and what belongs to it."""

    home: Path
    devices: Path
    port: int

    def inventory(self, count: int) -> Path:
        """An Ansible inventory of so many names."""
        shared = {
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.home / "client"),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.home}/known_hosts -o StrictHostKeyChecking=yes",
            "ansible_python_interpreter": PYTHON,
            "toolkit_python": str(self.home / "python"),
            "toolkit_known_hosts": str(self.home / "known_hosts"),
            "toolkit_reserve_bytes": 0,
        }
        hosts = {
            f"device-{number:03}": {"ansible_host": address(number), "toolkit_root": str(self.devices / f"{number:03}")}
            for number in range(1, count + 1)
        }
        path = self.home / f"{count}.yml"
        path.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
        return path

    def clear(self) -> None:
        """Bare devices."""
        subprocess.run(["chmod", "-R", "u+w", str(self.devices)], check=True)
        shutil.rmtree(self.devices)
        self.devices.mkdir()


def address(number: int) -> str:
    """One that leads to this machine, and to no other name."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


@contextmanager
def served(home: Path, names: int) -> Iterator[Ground]:
    """The server, for the length of a with-block."""
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as spare:
        port = spare.getsockname()[1]
    (home / "config").write_text(CONFIG.format(home=home, port=port))
    key = (home / "host.pub").read_text()
    (home / "known_hosts").write_text("".join(f"[{address(n)}]:{port} {key}" for n in range(1, names + 1)))
    (home / "facts.json").write_text(_facts(home))
    (home / "python").write_text(STAND_IN.format(facts=home / "facts.json", python=PYTHON))
    (home / "python").chmod(0o755)
    (home / "devices").mkdir()
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "sshd"
    listeners: list[subprocess.Popen[bytes]] = []
    try:
        addresses = [address(number) for number in range(1, names + 1)]
        for first in range(0, names, LISTEN_MOST):
            options = [
                word for one in addresses[first : first + LISTEN_MOST] for word in ("-o", f"ListenAddress={one}")
            ]
            listeners.append(subprocess.Popen([sshd, "-D", "-e", "-f", str(home / "config"), *options]))
        for one in addresses:
            wait_for(one, port)
        yield Ground(home, home / "devices", port)
    finally:
        for listener in listeners:
            listener.terminate()
        for listener in listeners:
            listener.wait()


def _facts(home: Path) -> str:
    """What a real probe says here."""
    argv = [sys.executable, "-B", str(DEVICE_CODE / "probe.py"), "--root", str(home)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def wait_for(address: str, port: int) -> None:
    """Wait until a server listens there; give up after ten seconds."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex((address, port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"the server on {address}:{port} does not start")


def make_bundle(folder: Path, head: int) -> Path:
    """A bundle of MobileNet's shapes with random weights, 14 MB: the same backbone and golden images whatever `head` is."""
    place = folder / f"head-{head}"
    (place / "golden").mkdir(parents=True)
    _write_model(place, head)
    draw = np.random.default_rng(0)
    np.save(place / "golden/inputs.npy", draw.integers(0, 256, (4, 224, 224, 3), np.uint8))
    np.save(place / "golden/outputs.npy", np.random.default_rng(head).random((4, 2), np.float32))
    (place / "labels.txt").write_text("with_mask\nwithout_mask\n")
    manifest = {
        "format": 1,
        "name": place.name,
        "precision": "fp32",
        "target": "cpu",
        "files": file_entries(place),
        "labels": ["with_mask", "without_mask"],
        "input": {"height": 224, "width": 224, "layout": "NHWC", "type": "u8", "color": "RGB", "crop": "resize"},
        "output": {"kind": "softmax", "classes": 2},
        "golden": {
            "count": 4,
            "tolerance": {"CPU": 1e-3},
            "inputs": "golden/inputs.npy",
            "outputs": "golden/outputs.npy",
        },
        "lineage": {},
        "versions": {},
        "parity": {},
    }
    (place / "manifest.json").write_bytes(hashing.canonical_json(manifest))
    return place.rename(folder / hashing.sha256_file(place / "manifest.json"))


def _write_model(place: Path, head: int) -> None:
    draw = np.random.default_rng(1)

    def weights(*shape: int) -> object:
        return ops.constant(draw.normal(0, 0.05, shape).astype(np.float32))

    image = ops.parameter([1, 3, 224, 224], np.float32, name="image")
    flow = ops.convolution(image, weights(32, 3, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1])
    for before, after in pairwise(CHANNELS):
        flow = ops.group_convolution(flow, weights(before, 1, 1, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
        flow = ops.add(ops.relu(flow), weights(1, before, 1, 1))
        flow = ops.convolution(flow, weights(after, before, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
        flow = ops.add(ops.relu(flow), weights(1, after, 1, 1))
    pooled = ops.reduce_mean(flow, np.array([2, 3]), keep_dims=False)
    own = np.random.default_rng(100 + head)
    logits = ops.matmul(pooled, own.normal(0, 0.05, (1024, 2)).astype(np.float32), False, False)
    ov.save_model(ov.Model([ops.softmax(logits, 1)], [image], "bench"), place / "model.xml", compress_to_fp16=False)
