from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import hashing
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.model import Rejection
from toolkit.bundle.resolve import load_bundle
from toolkit.bundle.verify import verify_bundle
from toolkit.convert import convert_model, training_embedding
from toolkit.convert.bundling import create_bundle, golden_images
from toolkit.device.app.drift.embedding import TrainingDistance
from toolkit.errors import BundleError, UsageError
from toolkit.progress import Silent


def bundle_of(trained: Any, head: str = "softmax", precision: str = "fp16") -> Bundle:
    model = getattr(trained, head)
    ir = convert_model(model, precision, "cpu", trained.workspace, trained.store, Silent())
    return create_bundle(ir, model, trained.split, trained.workspace, trained.store, Silent())


@pytest.fixture(scope="module")
def made(shared_trained: Any) -> Path:
    return shared_trained.workspace.absolute(bundle_of(shared_trained).path)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A bundle to damage; its folder keeps the digest's name."""
    return Path(shutil.copytree(made, tmp_path / made.name))


@pytest.mark.slow
def test_make_bundle_holds_all_a_device_needs_when_made(shared_trained: Any, made: Path) -> None:
    manifest = verify_bundle(made)
    assert made.name == hashing.sha256_file(made / "manifest.json")
    assert manifest["name"] == "tiny-softmax-top-fp16"
    assert manifest["lineage"]["model"] == shared_trained.softmax.digest
    assert manifest["lineage"]["note"] == "drawn images"
    assert (made / "labels.txt").read_text() == "dark\nlight\n"
    inputs, outputs = (np.load(made / manifest["golden"][key]) for key in ("inputs", "outputs"))
    assert (inputs.shape, inputs.dtype) == ((8, 32, 32, 3), np.uint8)
    assert (outputs.shape, outputs.dtype) == ((8, 2), np.float32)
    assert str(shared_trained.workspace.root) not in (made / "manifest.json").read_text()


def test_bundle_describes_its_training_images(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "training_embedding" not in verify_bundle(trained.workspace.absolute(bundle_of(trained).path)), (
        "too few images"
    )
    monkeypatch.setattr(training_embedding, "FEWEST", 10)
    manifest = verify_bundle(trained.workspace.absolute(bundle_of(trained).path))
    assert manifest["training_embedding"]["images"] == 12
    assert TrainingDistance.of(manifest) is not None


def test_make_bundle_gives_both_classes_when_sigmoid(shared_trained: Any) -> None:
    path = shared_trained.workspace.absolute(bundle_of(shared_trained, "sigmoid", "fp32").path)
    assert np.load(path / "golden/outputs.npy").shape == (8, 2)
    assert verify_bundle(path)["output"] == {"kind": "sigmoid", "classes": 2}


def test_make_bundle_states_the_rule_for_unknown_images(trained: Any) -> None:
    rule = Rejection(score="margin", error=0.02, temperature=1.5, threshold=0.7, validation_error=0.0, coverage=0.9)
    model = dataclasses.replace(trained.softmax, rejection=rule)
    ir = convert_model(model, "fp32", "cpu", trained.workspace, trained.store, Silent())
    bundle = create_bundle(ir, model, trained.split, trained.workspace, trained.store, Silent())
    manifest = verify_bundle(trained.workspace.absolute(bundle.path))
    assert manifest["rejection"] == {"score": "margin", "error": 0.02, "temperature": 1.5, "threshold": 0.7}


def test_make_bundle_is_the_same_to_the_byte_when_made_again(trained: Any, pristine: Any, tmp_path: Path) -> None:
    first = bundle_of(trained)
    shutil.rmtree(trained.workspace.absolute(first.path))
    shutil.rmtree(trained.workspace.root / "ir")
    again = bundle_of(trained)
    assert again == first


def test_make_bundle_says_so_when_it_is_there(trained: Any) -> None:
    first = bundle_of(trained)
    ir = convert_model(trained.softmax, "fp16", "cpu", trained.workspace, trained.store, Silent())
    progress = Silent()
    again = create_bundle(ir, trained.softmax, trained.split, trained.workspace, trained.store, progress)
    assert again == first
    assert progress.messages == [f"bundle tiny-softmax-top-fp16: already made ({first.short})"]


def test_make_bundle_makes_it_again_when_it_is_damaged(trained: Any) -> None:
    first = bundle_of(trained)
    (trained.workspace.absolute(first.path) / "labels.txt").write_text("wrong")
    assert bundle_of(trained) == first
    verify_bundle(trained.workspace.absolute(first.path))


def test_make_bundle_passes_the_devices_own_checks_when_made(made: Path) -> None:
    for command in ("verify", "golden"):
        label = [sys.executable, "-m", "toolkit.device", command, str(made)]
        done = subprocess.run(label, capture_output=True, text=True, check=False)
        assert json.loads(done.stdout)["ok"], done.stdout + done.stderr


FILES = ["manifest.json", "model.xml", "model.bin", "labels.txt", "golden/inputs.npy", "golden/outputs.npy"]


@pytest.mark.parametrize("name", FILES)
def test_verify_bundle_names_the_file_when_one_bit_is_flipped(folder: Path, name: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=name):
        verify_bundle(folder)


@pytest.mark.parametrize("name", FILES)
def test_verify_bundle_names_the_file_when_it_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: is missing"):
        verify_bundle(folder)


def test_verify_bundle_refuses_links_and_endless_nesting(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "device").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="device: is a symbolic link"):
        verify_bundle(folder)
    (folder / "manifest.json").write_bytes(b"[" * 200_000)
    with pytest.raises(BundleError, match="is not JSON"):
        verify_bundle(folder)


def test_verify_bundle_names_the_file_when_it_is_extra_or_short(folder: Path) -> None:
    (folder / "golden" / "more.npy").write_bytes(b"")
    (folder / "labels.txt").write_text("dark\n")
    with pytest.raises(BundleError) as failed:
        verify_bundle(folder)
    assert len(failed.value.problems) == 2
    assert "more.npy: is not in the manifest" in str(failed.value)
    assert "labels.txt: has 5 bytes; the manifest says 11" in str(failed.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format is 2"),
        ({"labels": "dark"}, "labels is missing or is not a list"),
        ({"files": {}}, "files does not name model.xml"),
        ({"files": {"../out": {"sha256": "", "size_bytes": 0}}}, "is outside the bundle"),
        ({"files": {"model.xml": {}}}, "has no sha256"),
    ],
)
def test_verify_bundle_explains_when_the_manifest_is_bad(folder: Path, change: dict[str, Any], message: str) -> None:
    other = folder.rename(folder.with_name("copied"))
    manifest = json.loads((other / "manifest.json").read_text()) | change
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=message):
        verify_bundle(other)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_verify_bundle_explains_when_the_manifest_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json: is not"):
        verify_bundle(folder)


def test_load_bundle_finds_it_when_named_by_digest_name_or_path(
    shared_trained: Any, made: Path, tmp_path: Path
) -> None:
    by_digest = load_bundle(made.name[:8], shared_trained.workspace, shared_trained.store)
    assert by_digest == load_bundle("tiny-softmax-top-fp16", shared_trained.workspace, shared_trained.store)
    assert by_digest == load_bundle(made, shared_trained.workspace, shared_trained.store)
    outside = shutil.copytree(made, tmp_path / "elsewhere")
    assert load_bundle(outside, shared_trained.workspace, shared_trained.store).path == str(outside)
    with pytest.raises(UsageError, match="tiny-softmax-top-fp16"):
        load_bundle("nothing", shared_trained.workspace, shared_trained.store)


def test_golden_images_takes_turns_among_classes_when_classes() -> None:
    assert golden_images([0, 0, 0, 0, 1, 1, 2], 6) == [0, 4, 6, 1, 5, 2]
    assert golden_images([0, 1], 8) == [0, 1]
