"""Pushing to a registry, and what a device that pulls gets: Debian's own registry, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import toolkit

pytestmark = pytest.mark.engine

IMAGES = Path(toolkit.__file__).parents[1] / "images"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: 127.0.0.1:{port}}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("docker-registry")
    assert program, "the package docker-registry: images/engine.sh install"
    folder = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "config.yml").write_text(CONFIG.format(folder=folder / "data", port=port))
    server = subprocess.Popen([program, "serve", folder / "config.yml"], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


@pytest.mark.timeout(600)
def test_pushed_image_runs_on_each_platform(registry: str) -> None:
    environment = os.environ | {"REGISTRY": f"{registry}/edge-vision", "TAG": "test", "OUTPUT": "type=image,push=true"}
    name = f"{registry}/edge-vision/runner:test"
    try:
        argv = [sys.executable, IMAGES / "build.py", "runner-cross", "--progress=quiet"]
        subprocess.run(argv, env=environment | {"SBOM": "edge-vision/sbom:dev"}, check=True)
        request = urllib.request.Request(
            f"http://{registry}/v2/edge-vision/runner/manifests/test", headers={"Accept": INDEX}
        )
        with urllib.request.urlopen(request) as answer:
            index = json.load(answer)
        platforms = [entry["platform"]["architecture"] for entry in index["manifests"]]
        assert {"amd64", "arm64"} <= set(platforms)
        assert platforms.count("unknown") == 2, "an attestation for each"
        subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=True)
        for platform, machine in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
            subprocess.run(["docker", "pull", "--quiet", "--platform", platform, name], check=True)
            done = subprocess.run(
                ["docker", "run", "--rm", "--platform", platform, "--read-only", "--tmpfs", "/tmp", name, "probe"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert json.loads(done.stdout)["machine"] == machine
    finally:
        for pushed in ("runner:test", "base:test", "sbom:test"):
            subprocess.run(
                ["docker", "rmi", "--force", f"{registry}/edge-vision/{pushed}"], capture_output=True, check=False
            )


@pytest.mark.timeout(600)
def test_runner_stands_on_another_base_when_one_is_named(registry: str) -> None:
    other = f"{registry}/others/debian:12"
    for argv in (["tag", "edge-vision/base:dev", other], ["push", "--quiet", other], ["rmi", other]):
        subprocess.run(["docker", *argv], check=True, capture_output=True)
    argv = [sys.executable, IMAGES / "build.py", "validate-runner", "--progress=plain"]
    environment = os.environ | {"BASE": f"docker-image://{other}", "TAG": "other-base"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert other in done.stderr
    assert "base-cross" not in done.stderr, "ours is not built"
