"""What is in an image, and what is not."""

from __future__ import annotations

import functools
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass

import layout
import pytest

import toolkit

pytestmark = pytest.mark.engine

IMAGES = ["base:dev", "runner:dev"]
PLATFORMS = ["linux/amd64", "linux/arm64"]
BUDGET_BYTES = {"linux/arm64": 120_000_000, "linux/amd64": 150_000_000}
UNWANTED = re.compile(
    r"(^|/)(usr/)?bin/(sh|bash|dash|gcc.*|cc|c\+\+|clang.*|ld|as|apt|apt-get|dpkg|pip.*|perl)$"
    r"|(^|/)pip(/|-)|tensorflow(/|-)|libopenvino_(tensorflow|pytorch|onnx|paddle|jax)|_gpu_plugin|_npu_plugin"
)
SECRETS = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----|index-url|proxy_password")

PREFIX = "org.opencontainers.image."
DIGEST = f"{PREFIX}base.digest"
SOURCE = "https://git.example/edge-vision-toolkit"
"""What images/test.sh names."""
BASES = {
    "runner:dev": "base:dev",
    "runner-ncs2:dev": "base:dev-bullseye",
    "train:dev": "base:dev-train",
    "sbom:dev": "base:dev",
    "legacy:dev-2021": "base:dev-bullseye",
}

Stored = Callable[[str], layout.Layout]


@pytest.fixture(params=IMAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@dataclass(frozen=True)
class Content:
    """What the layers of one platform hold, and which files look like secrets."""

    members: list[tarfile.TarInfo]
    secret: list[str]


@pytest.fixture(scope="module")
def content(stored: Stored) -> Callable[[str, str], Content]:
    """content("runner:dev", "linux/arm64"), unpacked once."""

    @functools.cache
    def read(name: str, platform: str) -> Content:
        files = Content([], [])
        for member, data in stored(name).files(stored(name).images()[platform]):
            files.members.append(member)
            if not member.name.endswith((".py", ".pyc", ".so")) and SECRETS.search(data):
                files.secret.append(member.name)
        return files

    return read


@pytest.mark.parametrize("platform", PLATFORMS)
def test_image_holds_no_shell_compiler_package_manager_or_secret(
    content: Callable[[str, str], Content], name: str, platform: str
) -> None:
    files = content(name, platform)
    assert not [member.name for member in files.members if UNWANTED.search(member.name)]
    assert not files.secret
    assert not [member.name for member in files.members if member.name.startswith("run/")], "a secret's place"
    assert not [member.name for member in files.members if member.mode & 0o6000], "nothing is setuid"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_image_names_no_host_that_packages_came_from(
    content: Callable[[str, str], Content], name: str, platform: str
) -> None:
    entries = [member.name for member in content(name, platform).members]
    assert not [entry for entry in entries if entry.startswith(("etc/apt", "root/.cache", "root/.config", "tmp/"))]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_image_says_how_it_is_run(stored: Stored, platform: str) -> None:
    config = stored("runner:dev").images()[platform].config["config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Entrypoint"] == ["python3", "-m", "device"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_runner_is_within_its_size(stored: Stored, platform: str) -> None:
    assert stored("runner:dev").images()[platform].size_bytes <= BUDGET_BYTES[platform]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_no_file_is_newer_than_the_epoch(content: Callable[[str, str], Content], name: str, platform: str) -> None:
    assert not [member.name for member in content(name, platform).members if member.mtime > 1760000000]


@pytest.mark.parametrize(
    "name", ["base:dev", "runner:dev", "runner-ncs2:dev", "train:dev", "sbom:dev", "legacy:dev-2021"]
)
def test_labels_are_complete(stored: Stored, name: str) -> None:
    for platform, image in stored(name).images().items():
        labels = {key.removeprefix(PREFIX): value for key, value in image.config["config"]["Labels"].items()}
        assert labels["title"]
        assert labels["description"]
        assert labels["licenses"] == "Apache-2.0"
        assert labels["version"] == toolkit.__version__
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"])
        assert labels["created"] == "2025-10-09T08:53:20Z", "SOURCE_DATE_EPOCH, whenever it was built"
        assert labels["source"] == labels["url"] == SOURCE
        assert labels["documentation"] == f"{SOURCE}#readme"
        base = BASES.get(name)
        assert labels.get("base.name") == (f"edge-vision/{base}" if base else None)
        assert bool(base) == bool(re.fullmatch(r"sha256:[0-9a-f]{64}", labels.get("base.digest", "")))
        if base in IMAGES:
            assert labels["base.digest"] == stored(base).images()[platform].digest


def test_index_and_manifests_repeat_the_labels(stored: Stored) -> None:
    image = stored("runner:dev")
    annotations = image.annotations()
    assert annotations[f"{PREFIX}title"] == "runner"
    for platform in PLATFORMS:
        one = image.images()[platform]
        labels = one.config["config"]["Labels"]
        assert one.manifest["annotations"] == annotations | {DIGEST: labels[DIGEST]}, (
            "each platform has a base of its own"
        )
        assert {key: labels[key] for key in annotations} == annotations


def test_each_platform_has_provenance_and_an_sbom(stored: Stored) -> None:
    statements = stored("runner:dev").statements()
    kinds = [statement["predicateType"] for statement in statements]
    assert kinds.count("https://slsa.dev/provenance/v0.2") == len(PLATFORMS)
    bills = [one["predicate"] for one in statements if one["predicateType"] == "https://spdx.dev/Document"]
    assert len(bills) == len(PLATFORMS)
    for bill in bills:
        names = {package["name"] for package in bill["packages"]}
        assert {"libc6", "libpython3.13-stdlib", "numpy", "opencv-python-headless", "openvino"} <= names


def test_bill_of_materials_names_sources_and_the_release(stored: Stored) -> None:
    bill = layout.bill_of_materials(stored("runner:dev"), "linux/arm64")
    (library,) = (package for package in bill["packages"] if package["name"] == "libc6")
    assert library["sourceInfo"].startswith("built package from: glibc ")
    assert library["externalRefs"][0]["referenceLocator"].endswith("?arch=arm64&distro=trixie")


def test_sbom_of_the_layers_equals_the_attached_one(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    image = stored("runner:dev")
    attached = layout.bill_of_materials(image, "linux/arm64")
    monkeypatch.setattr(image, "statements", lambda _digest: [])
    assert layout.bill_of_materials(image, "linux/arm64")["packages"] == attached["packages"]
