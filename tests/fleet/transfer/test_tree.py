from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit import hashing
from toolkit.errors import BundleError
from toolkit.fleet.transfer.tree import release_tree, tree_of


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "golden").mkdir(parents=True)
    contents = {"model.bin": b"weights", "golden/inputs.npy": b"images"}
    for path, content in contents.items():
        (folder / path).write_bytes(content)
    files = {path: {"sha256": hashing.sha256_bytes(c), "size_bytes": len(c)} for path, c in contents.items()}
    (folder / "manifest.json").write_bytes(hashing.canonical_json({"files": files}))
    return folder.rename(tmp_path / hashing.sha256_file(folder / "manifest.json"))


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
    named = {"model.bin", "golden/inputs.npy", "manifest.json", "device/__init__.py", "device/__main__.py"}
    assert paths == named | {"release.json"}
    described = json.loads(bytes(next(file.source for file in tree.files if file.path == "release.json")))
    assert set(described["files"]) == named
    assert (described["bundle"], tree.parent) == (bundle.name, bundle.name)
    assert tree.digest == hashing.sha256_json(described)
    assert release_tree(bundle, code) == tree
    (code / "__init__.py").write_text("changed")
    assert release_tree(bundle, code).digest != tree.digest


def test_release_tree_names_every_file_when_several_are_off(bundle: Path, code: Path) -> None:
    (bundle / "model.bin").write_bytes(b"weightS")
    (bundle / "golden/inputs.npy").write_bytes(b"image")
    with pytest.raises(BundleError) as caught:
        release_tree(bundle, code)
    whats = [problem.what for problem in caught.value.problems]
    assert whats == ["has 5 bytes, not 6", "is not what the manifest says (sha256 differs)"]


def test_release_tree_refuses_when_the_manifest_was_changed(bundle: Path, code: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_bytes(hashing.canonical_json(manifest | {"name": "other"}))
    with pytest.raises(BundleError, match="its digest is not the bundle's name"):
        release_tree(bundle, code)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"files": 3}'])
def test_release_tree_refuses_when_there_is_no_manifest_in_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: is no bundle"):
        release_tree(tmp_path)
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="is not a bundle's manifest"):
        release_tree(tmp_path)


def test_release_tree_refuses_when_a_file_is_missing_or_leads_out(bundle: Path, code: Path, tmp_path: Path) -> None:
    (bundle / "model.bin").unlink()
    with pytest.raises(BundleError, match=r"model\.bin: cannot be read: No such file"):
        release_tree(bundle, code)
    (tmp_path / "manifest.json").write_text('{"files": {"../../etc/passwd": {}}}')
    with pytest.raises(BundleError, match="leads out"):
        release_tree(tmp_path, code)


def test_tree_of_depends_on_paths_and_bytes_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"same")
    assert tree_of({"a": tmp_path / "file"}).digest == tree_of({"a": b"same"}).digest
    assert tree_of({"b": b"same"}).digest != tree_of({"a": b"same"}).digest
    assert tree_of({"a": b"same", "b": b"same"}).size_bytes == 4
