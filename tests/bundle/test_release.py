from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit import hashing
from toolkit.bundle.release import release_tree
from toolkit.errors import BundleError

from ..bundles import sealed

NEEDED = {"model.xml", "model.bin", "labels.txt", "golden/inputs.npy", "golden/outputs.npy"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "golden").mkdir(parents=True)
    contents = {"model.xml": b"<net/>", "model.bin": b"weights", "labels.txt": b"a\n"}
    contents |= {"golden/inputs.npy": b"images", "golden/outputs.npy": b"answers"}
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    files = {path: {"sha256": hashing.sha256_bytes(c), "size_bytes": len(c)} for path, c in contents.items()}
    texts = dict.fromkeys(("name", "precision", "target"), "x")
    tables = {name: dict[str, str]() for name in ("input", "output", "golden", "lineage", "versions", "parity")}
    return sealed(folder, {"format": 1, **texts, **tables, "labels": ["a"], "files": files})


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    (folder / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "__main__.py", "__pycache__/x.pyc", ".hidden"):
        (folder / name).write_text(name)
    return folder


def test_release_tree_names_every_byte_of_bundle_and_device_code(bundle: Path, code: Path) -> None:
    tree = release_tree(bundle, code)
    paths = {file.path for file in tree.files}
    named = {*NEEDED, "manifest.json", "device/__init__.py", "device/__main__.py"}
    assert paths == named | {"release.json"}
    index = json.loads(bytes(next(file.source for file in tree.files if file.path == "release.json")))
    assert set(index["files"]) == named
    assert (index["bundle"], tree.parent) == (bundle.name, bundle.name)
    assert tree.digest == hashing.sha256_json(index)
    assert release_tree(bundle, code) == tree
    (code / "__init__.py").write_text("changed")
    assert release_tree(bundle, code).digest != tree.digest


def test_release_tree_names_every_file_when_several_are_off(bundle: Path, code: Path) -> None:
    (bundle / "model.bin").write_bytes(b"weightS")
    (bundle / "golden/inputs.npy").write_bytes(b"image")
    with pytest.raises(BundleError) as caught:
        release_tree(bundle, code)
    assert {Path(problem.where).name for problem in caught.value.problems} == {"model.bin", "inputs.npy"}


def test_release_tree_refuses_what_is_not_a_bundle(bundle: Path, code: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_bytes(hashing.canonical_json(manifest | {"name": "other"}))
    with pytest.raises(BundleError, match=r"manifest\.json: "):
        release_tree(bundle, code)


@pytest.mark.parametrize("path", ["manifest.json.sig", "model.bin", "golden"])
def test_release_tree_follows_no_link(bundle: Path, code: Path, tmp_path: Path, path: str) -> None:
    """A link would send what it leads to, such as a private key, to every device."""
    place, away = bundle / path, tmp_path / "away"
    place.rename(away) if place.exists() else away.write_bytes(b"a private key")
    place.symlink_to(away)
    with pytest.raises(BundleError, match="symbolic link"):
        release_tree(bundle, code)
