"""Keras files from outside that attack the process that opens them."""

from __future__ import annotations

import json
import resource
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from toolkit.networks import keras_files
from toolkit.networks.keras_files import UnreadableLayerError, refuse_code
from toolkit.networks.weights import _read
from toolkit.system.clean_copy import clean_copy


def write_h5(path: Path, values: Any = None, **options: Any) -> None:
    """Weights as Keras writes them, of one layer with one array."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        group = file.create_group("conv")
        group.attrs["weight_names"] = [b"conv/kernel:0"]
        group.create_dataset("conv/kernel:0", data=values, **options)


def _read_plainly(path: Path) -> object:
    with clean_copy(path) as copy:
        return copy.read_bytes()


def test_clean_copy_holds_the_same_numbers_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    write_h5(path, np.arange(6, dtype=np.float16).reshape(2, 3))
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = "3.15.1"
        file.attrs["named"] = np.array(["a", "ü"], h5py.string_dtype())
        file["raw"] = np.array([b"\1\2", b"\3\4"], "V2")
    with clean_copy(path) as copy, h5py.File(copy) as file, h5py.File(path) as original:
        assert list(file.attrs["layer_names"]) == list(original.attrs["layer_names"])
        assert file.attrs["keras_version"] == "3.15.1"
        assert list(file.attrs["named"]) == ["a", "ü"]
        np.testing.assert_array_equal(file["conv/conv/kernel:0"], np.arange(6, dtype=np.float16).reshape(2, 3))
        assert file["raw"][1].tobytes() == b"\3\4"
    assert not copy.exists()


def test_weights_cannot_take_another_files_bytes_along(tmp_path: Path) -> None:
    """HDF5 can lay an array into any file: a key would become weights, and go to every device."""
    secret = tmp_path / "key"
    secret.write_bytes(b"PRIVATE!")
    path = tmp_path / "weights.h5"
    write_h5(path, shape=(8,), dtype="u1", external=[(str(secret), 0, 8)])
    with h5py.File(path) as file:
        assert file["conv/conv/kernel:0"][()].tobytes() == b"PRIVATE!"
    with pytest.raises(ValueError, match="conv/kernel:0 is no plain array"):
        _read_plainly(path)


@pytest.mark.parametrize("link", [h5py.SoftLink("/conv/conv/kernel:0"), h5py.ExternalLink("other.h5", "/conv")])
def test_clean_copy_follows_no_link(tmp_path: Path, link: Any) -> None:
    path = tmp_path / "weights.h5"
    write_h5(path, np.zeros(3))
    write_h5(tmp_path / "other.h5", np.ones(3))
    with h5py.File(path, "r+") as file:
        file["other"] = link
    with clean_copy(path) as copy, h5py.File(copy) as file:
        assert set(file) == {"conv"}


def test_weights_of_a_few_bytes_cannot_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    write_h5(path, shape=(5 << 30,), dtype="u1", chunks=(1 << 20,), compression="gzip")
    assert path.stat().st_size < 1 << 20
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ValueError, match="need more than 4 GiB of memory"):
        _read_plainly(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert time.monotonic() - start < 30


def zip_bomb(path: Path) -> None:
    """A .keras file of less than 1 MB whose configuration unpacks to 300 MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("config.json", "w") as stream:
            for _ in range(300):
                stream.write(bytes(1 << 20))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
    assert path.stat().st_size < 1 << 20


@pytest.mark.parametrize("read", [_read_plainly, keras_files.load_model])
def test_keras_file_that_is_a_zip_bomb_is_refused_unread(tmp_path: Path, read: Any) -> None:
    zip_bomb(tmp_path / "bomb.keras")
    keras_files.start_tensorflow()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"config\.json is 314,572,800 bytes large"):
        read(tmp_path / "bomb.keras")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


@pytest.mark.parametrize(
    "described",
    [
        {"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "/tmp/attack"}},
        {"class_name": "StringLookup", "module": "keras.layers", "config": {"vocabulary": "/etc/passwd"}},
        {"class_name": "TextVectorization", "config": {"vocabulary": "/etc/passwd"}},
        {"class_name": "function", "module": "keras.utils", "config": "get_file"},
        {"class_name": "function", "module": "keras.src.utils.file_utils", "config": "get_file"},
        {"class_name": "function", "module": "keras.config", "config": "enable_unsafe_deserialization"},
        {"class_name": "KerasFileEditor", "module": "keras.saving", "config": {"filepath": "/etc/passwd"}},
    ],
)
def test_refuse_code_refuses_what_reads_files_or_runs_others(described: dict[str, Any]) -> None:
    with pytest.raises(UnreadableLayerError):
        refuse_code({"class_name": "Sequential", "config": {"layers": [described]}})


def test_weights_file_is_read_for_what_it_is(tmp_path: Path) -> None:
    write_h5(tmp_path / "weights.h5", np.arange(3.0))
    ((name, (array,)),) = _read(tmp_path / "weights.h5").items()
    assert (name, array.tolist()) == ("conv", [0, 1, 2])
