"""The bake file repeats versions that are decided elsewhere: here they are held together."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import toolkit

REPOSITORY = Path(toolkit.__file__).parents[1]
BAKE = (REPOSITORY / "images/docker-bake.hcl").read_text()


def declared(name: str) -> str:
    match = re.search(rf'^variable "{name}" {{ default = "([^"]*)" }}$', BAKE, re.MULTILINE)
    assert match, name
    return match.group(1)


def locked(file: str, project: str) -> str:
    text = (REPOSITORY / "requirements" / file).read_text()
    match = re.search(rf"^{project}==(\S+)", text, re.MULTILINE)
    assert match, (file, project)
    return match.group(1)


@pytest.mark.parametrize("project", ["ai-edge-litert", "numpy", "opencv-python-headless", "openvino"])
def test_runner_lock_has_the_versions_of_other_locks(project: str) -> None:
    assert locked("image-runner.txt", project) == locked("dev.txt", project) == locked("device.txt", project)


def test_declared_openvino_is_the_locked_one() -> None:
    assert declared("OPENVINO") == locked("image-runner.txt", "openvino")


def test_declared_tensorflow_is_the_locked_one() -> None:
    assert declared("MKL_TENSORFLOW") == locked("image-train.txt", "intel-tensorflow")
    assert locked("image-train.txt", "intel-tensorflow") == locked("mkl.txt", "intel-tensorflow")
    assert locked("image-train.txt", "openvino") == declared("OPENVINO")


def test_declared_archive_is_the_one_that_ansible_takes() -> None:
    archive = f"l_openvino_toolkit_debian9_{declared('NCS2_ARCHIVE_OPENVINO')}."
    for file in ("ansible/inventory/example.yml", "images/build.py"):
        assert archive in (REPOSITORY / file).read_text(), file
    generation = next(
        generation
        for generation in tomllib.loads((REPOSITORY / "toolkit/compat.toml").read_text())["generations"]
        if "archive" in generation["name"]
    )
    assert generation["versions"][0] <= declared("NCS2_ARCHIVE_OPENVINO") <= generation["versions"][1]


def test_declared_runtime_supports_its_python_and_glibc() -> None:
    generations = tomllib.loads((REPOSITORY / "toolkit/compat.toml").read_text())["generations"]
    for openvino, python, glibc in (
        ("OPENVINO", "PYTHON", "GLIBC"),
        ("OPENVINO", "BOOKWORM_PYTHON", "BOOKWORM_GLIBC"),
        ("NCS2_OPENVINO", "NCS2_PYTHON", "NCS2_GLIBC"),
    ):
        version = Version(declared(openvino))
        generation = next(
            generation
            for generation in generations
            if Version(generation["versions"][0]) <= version <= Version(generation["versions"][1])
        )
        assert Version(generation["python"][0]) <= Version(declared(python)) <= Version(generation["python"][1])
        assert Version(generation["glibc"]["x86_64"]) <= Version(declared(glibc))


@pytest.mark.parametrize(
    ("suite", "variable"),
    [("trixie", "PYTHON"), ("bookworm", "BOOKWORM_PYTHON"), ("train", "BOOKWORM_PYTHON"), ("bullseye", "NCS2_PYTHON")],
)
def test_base_holds_the_declared_python(suite: str, variable: str) -> None:
    table = tomllib.loads((REPOSITORY / f"images/base/{suite}.toml").read_text())
    assert f"libpython{declared(variable)}-stdlib" in table["include"]


@pytest.mark.parametrize("suite", ["trixie", "bookworm", "bullseye"])
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_lock_of_the_base_names_a_digest_for_every_package(suite: str, architecture: str) -> None:
    lines = (REPOSITORY / f"images/base/{suite}-{architecture}.lock").read_text().splitlines()
    assert len(lines) > 20
    assert all(re.fullmatch(r"[a-z0-9.+-]+=\S+ sha256:[0-9a-f]{64}", line) for line in lines)


def test_python_of_the_project_covers_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert Version(declared("PYTHON")) in SpecifierSet(project["requires-python"])
