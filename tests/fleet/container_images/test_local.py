"""A container image's layout as an engine exports it, made by hand: what of it travels, for which machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.fleet.container_images import local, remote
from toolkit.fleet.container_images.local import ContainerImage
from toolkit.fleet.container_images.remote import RemoteImage
from toolkit.fleet.transfer.tree import FileTree

DEVICE = Device(name="pi", host="pi", container_image="edge/runner:1")
LAYERS = {"amd64": [b"debian", b"wheels for amd64"], "arm64": [b"debian", b"wheels for arm64"]}


def blob(folder: Path, content: bytes, kind: str = "layer") -> dict[str, object]:
    sha = hashlib.sha256(content).hexdigest()
    (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (folder / "blobs/sha256" / sha).write_bytes(content)
    return {"mediaType": kind, "digest": f"sha256:{sha}", "size": len(content)}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Two architectures, an attestation, and a third that the engine has not fetched."""
    manifests = []
    for architecture, layers in LAYERS.items():
        config = blob(tmp_path, json.dumps({"architecture": architecture}).encode(), "config")
        content = {"config": config, "layers": [blob(tmp_path, layer) for layer in layers]}
        manifests.append(blob(tmp_path, json.dumps(content).encode(), "manifest"))
    unknown = blob(tmp_path, json.dumps({"architecture": "unknown"}).encode(), "config")
    manifests.append(blob(tmp_path, json.dumps({"config": unknown, "layers": []}).encode(), "manifest"))
    manifests.append({"mediaType": "manifest", "digest": "sha256:" + "0" * 64, "size": 1})
    top = blob(tmp_path, json.dumps({"manifests": manifests}).encode(), "index")
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [top]}))
    return tmp_path


@pytest.fixture
def container_image(layout: Path, monkeypatch: pytest.MonkeyPatch) -> ContainerImage:
    monkeypatch.setattr(local, "_exported", lambda _: layout)
    return local.resolve_images(["edge/runner:1"])["edge/runner:1"]


def content(tree: FileTree, path: str) -> bytes:
    (source,) = (file.source for file in tree.files if file.path == path)
    return source if isinstance(source, bytes) else source.read_bytes()


def test_resolve_images_gives_a_layout_per_complete_architecture(container_image: ContainerImage, layout: Path) -> None:
    top = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"].partition(":")[2]
    assert container_image.variants.keys() == LAYERS.keys()
    assert container_image.reference == f"toolkit-runner:{top}"
    assert not container_image.is_pulled


def test_a_layout_names_its_layers_for_both_kinds_of_store(container_image: ContainerImage) -> None:
    tree = container_image.variants["arm64"].tree
    (older,) = json.loads(content(tree, "manifest.json"))
    assert [content(tree, path) for path in older["Layers"]] == LAYERS["arm64"]
    assert older["RepoTags"] == [container_image.reference]
    (entry,) = json.loads(content(tree, "index.json"))["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == f"docker.io/library/{container_image.reference}"
    manifest = json.loads(content(tree, "blobs/" + entry["digest"].replace(":", "/")))
    assert container_image.variants["arm64"].ids == {entry["digest"], manifest["config"]["digest"]}


def test_architectures_share_the_layers_that_are_the_same(container_image: ContainerImage) -> None:
    amd64, arm64 = ({file.path for file in container_image.variants[name].tree.files} for name in ("amd64", "arm64"))
    shared = hashlib.sha256(b"debian").hexdigest()
    assert f"blobs/sha256/{shared}" in amd64 & arm64


def test_find_asks_no_engine_when_devices_pull_the_image() -> None:
    name = f"registry.example/runner@sha256:{'a' * 64}"
    assert local.resolve_images([name, name]) == {name: ContainerImage(name, name)}
    assert local.resolve_images([]) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("edge-vision/runner:dev", True),
        ("registry.example:5000/team/runner@sha256:" + "0" * 64, True),
        ("runner@sha256:12", False),
        ("--privileged", False),
        ("runner dev", False),
        ("", False),
    ],
)
def test_is_name_takes_what_an_engine_takes(name: str, expected: bool) -> None:
    assert local.is_name(name) is expected


def test_problems_name_a_missing_engine_and_wrong_architecture(container_image: ContainerImage) -> None:
    assert not list(remote.problems(DEVICE, container_image, RemoteImage(), "aarch64"))
    (engine,) = remote.problems(DEVICE, container_image, RemoteImage(error="permission denied"), "x86_64")
    assert engine.what == "no container engine for the user: permission denied"
    (machine,) = remote.problems(DEVICE, container_image, RemoteImage(), "riscv64")
    assert machine.what == "edge/runner:1 is made for amd64 and arm64, and the device is riscv64 (riscv64)"
    pulled = ContainerImage("x@sha256:…", "x@sha256:…")
    assert list(remote.problems(DEVICE, pulled, RemoteImage(id="sha256:1", architecture="amd64"), "aarch64"))


def test_parse_reads_what_the_engine_says(container_image: ContainerImage) -> None:
    assert remote.parse("no docker command is there\n") == RemoteImage(error="no docker command is there")
    assert remote.parse("engine 26.1.5\nabsent\n") == RemoteImage()
    variant = container_image.variants["arm64"]
    for identity in variant.ids:
        assert remote.is_there(container_image, remote.parse(f"engine 20.10\n{identity} arm64\n"))
    assert not remote.is_there(container_image, remote.parse(f"engine 20.10\nsha256:{'0' * 64} arm64\n"))
