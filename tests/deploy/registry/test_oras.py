"""Other people's clients at a registry with a login: docker's command logs in, oras-py reads what was published."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import bcrypt
import pytest

from toolkit.deploy.registry.publish import RELEASE_TYPE, publish

from .test_publish import LOGIN, Server, program

pytestmark = [pytest.mark.interop, pytest.mark.registry]
__all__ = ["program"]

PYTHON = Path(__file__).parents[3] / ".venv-interop/bin/python"
READ = """
import json, os, sys
from oras.provider import Registry
channel, folder = sys.argv[1:]
host = channel.partition("/")[0]
registry = Registry(hostname=host, insecure=True, tls_verify=False, auth_backend="basic")
registry.auth.load_configs(registry.get_container(channel), [f"{os.environ['DOCKER_CONFIG']}/config.json"])
files = registry.pull(channel, outdir=folder)
print(json.dumps({"manifest": registry.get_manifest(channel), "files": files, "tags": registry.get_tags(channel)}))
"""


def test_oras_reads_a_release_behind_docker_login(
    program: str, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")
    (tmp_path / "htpasswd").write_text(f"fleet:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    server = Server(program, tmp_path, auth=LOGIN.format(folder=tmp_path))
    host = server.channel.partition("/")[0]
    try:
        login = ["docker", "login", "--username", "fleet", "--password-stdin", host]
        subprocess.run(login, input=b"secret", check=True, capture_output=True)
        published = publish(bundle, server.channel)
        command = [PYTHON, "-c", READ, server.channel, tmp_path / "pulled"]
        read = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    finally:
        server.kill()
    assert read.returncode == 0, read.stderr
    answer = json.loads(read.stdout)
    manifest = answer["manifest"]
    assert answer["tags"] == ["stable"]
    assert manifest["artifactType"] == RELEASE_TYPE
    assert manifest["annotations"]["io.github.edge-vision-toolkit.release"] == published.release
    assert manifest["annotations"]["org.opencontainers.image.title"] == "tiny"
    release = json.loads((tmp_path / "pulled" / "release.json").read_text())
    assert release["bundle"] == published.bundle
