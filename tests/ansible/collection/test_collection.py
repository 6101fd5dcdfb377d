"""The folder ansible as a collection: packed, installed and used by ansible-core's own programs."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

import toolkit

from ..conftest import BIN

PLAY = """
- hosts: all
  gather_facts: false
  vars:
    facts: {machine: x86_64, python: 3.11.2, glibc: '2.36', release: 12, system: debian, bits: 64}
  tasks:
    - edge_vision.toolkit.managed_files:
        files: [{dest: "{{ folder }}/note", content: "written\\n", mode: "0644"}]
    - ansible.builtin.copy:
        content: "{{ facts | edge_vision.toolkit.openvino_generations('CPU') | to_json }}"
        dest: "{{ folder }}/generations"
        mode: "0644"
    - ansible.builtin.include_role:
        name: edge_vision.toolkit.preflight
"""


@pytest.fixture(scope="module")
def installed(ansible_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the collection is installed, and nothing else of the checkout is reachable."""
    folder = tmp_path_factory.mktemp("collection")
    galaxy = [BIN / "ansible-galaxy", "collection"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")}
    environment = inherited | {"ANSIBLE_HOME": str(folder / "home"), "ANSIBLE_COLLECTIONS_PATH": str(folder / "at")}

    def run(*argv: str | Path) -> None:
        subprocess.run([*galaxy, *argv], check=True, capture_output=True, cwd=folder, env=environment)

    run("build", ansible_dir, "--output-path", folder)
    (archive,) = folder.glob("edge_vision-toolkit-*.tar.gz")
    run("install", "--offline", archive)
    return environment | {"ARCHIVE": str(archive)}


def test_the_collection_holds_roles_and_plugins_alone(installed: dict[str, str], ansible_dir: Path) -> None:
    with tarfile.open(installed["ARCHIVE"]) as archive:
        names = {name.partition("/")[0] for name in archive.getnames()}
    assert {"roles", "plugins", "meta", "README.md", "MANIFEST.json", "FILES.json"} <= names
    assert not {"inventory", "ansible.cfg", ".collections"} & names
    described = yaml.safe_load((ansible_dir / "galaxy.yml").read_text())
    assert described["version"] == toolkit.__version__


def test_every_role_is_documented(installed: dict[str, str], ansible_dir: Path) -> None:
    command = [BIN / "ansible-doc", "-t", "role", "-l", "--json", "edge_vision.toolkit"]
    listed = subprocess.run(command, check=True, capture_output=True, env=installed)
    roles = {path.name for path in (ansible_dir / "roles").iterdir()}
    assert {*json.loads(listed.stdout)} == {f"edge_vision.toolkit.{role}" for role in roles}
    for role in roles:
        meta = yaml.safe_load((ansible_dir / "roles" / role / "meta/main.yml").read_text())
        assert meta["galaxy_info"]["description"]
        assert meta["dependencies"] == []


@pytest.mark.slow
def test_module_filter_and_role_work_by_their_full_names(installed: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "hosts.yml").write_text(
        "all: {hosts: {here: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}}}\n"
    )
    command = [BIN / "ansible-playbook", "-i", "hosts.yml", "play.yml", "-e", f"folder={tmp_path}"]
    played = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
    assert (tmp_path / "note").read_text() == "written\n", played.stdout
    assert json.loads((tmp_path / "generations").read_text())
    assert "Report everything that prevents the machine from becoming a device" in played.stdout
    assert "No filter named" not in played.stdout + played.stderr
