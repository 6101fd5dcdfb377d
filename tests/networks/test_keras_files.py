"""Files of other Kerases, made by writing a Keras 3 file's configuration as the others write theirs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.networks.keras_files import UnreadableLayerError, load_model, refuse_code
from toolkit.networks.tf_runtime import start_tensorflow

IMAGE = np.random.default_rng(1).random((1, 16, 16, 3), np.float32)


def network(policy: str = "float32") -> Any:
    start_tensorflow()
    import keras

    layers, named = keras.layers, {"dtype": policy}
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(4, 3, name="conv", **named),
            layers.BatchNormalization(name="norm", **named),
            layers.DepthwiseConv2D(3, name="depthwise", **named),
            layers.SeparableConv2D(4, 3, name="separable", **named),
            layers.GlobalAveragePooling2D(**named),
            layers.Dense(3, activation="softmax", **named),
        ]
    )


def as_keras_2(described: Any) -> Any:
    """A Keras 3 configuration with the arguments that Keras 2 writes besides."""
    if isinstance(described, list):
        return [as_keras_2(each) for each in described]
    if not isinstance(described, dict):
        return described
    changed = {key: as_keras_2(value) for key, value in described.items()}
    if changed.get("class_name") == "DTypePolicy":
        return changed["config"]["name"]
    if changed.get("class_name") in {"DepthwiseConv2D", "SeparableConv2D"}:
        changed["config"] |= {"groups": 1}
    if changed.get("class_name") == "BatchNormalization":
        changed["config"]["axis"] = [3]
    return changed


def change_h5(path: Path, change: Callable[[Any], Any]) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        changed = json.dumps(change(json.loads(file.attrs["model_config"])))
        del file.attrs["model_config"]
        file.attrs["model_config"] = changed
        file.attrs["keras_version"] = "2.15.0"


def change_keras(path: Path, change: Callable[[Any], Any], version: str) -> None:
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["config.json"] = json.dumps(change(json.loads(contents["config.json"]))).encode()
    contents["metadata.json"] = json.dumps({"keras_version": version}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_load_model_reads_files_of_keras_2(tmp_path: Path, suffix: str) -> None:
    model, path = network(), tmp_path / f"model{suffix}"
    model.save(path)
    change_h5(path, as_keras_2) if suffix == ".h5" else change_keras(path, as_keras_2, "2.15.0")
    np.testing.assert_allclose(load_model(path)(IMAGE), model(IMAGE), atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_load_model_computes_in_float32_when_asked(tmp_path: Path, suffix: str, policy: str) -> None:
    model, path = network(policy), tmp_path / f"model{suffix}"
    model.save(path)
    plain = network()
    plain.set_weights(model.get_weights())
    loaded = load_model(path, float32=True)
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}
    np.testing.assert_allclose(loaded(IMAGE), plain(IMAGE), atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_load_model_runs_no_code_of_a_file(tmp_path: Path, suffix: str) -> None:
    start_tensorflow()
    import keras

    path = tmp_path / f"code{suffix}"
    keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Lambda(lambda x: x * 2)]).save(path)
    with pytest.raises(UnreadableLayerError, match="Lambda layer, which is code"):
        load_model(path)


@pytest.mark.parametrize("function", ["io.write_file", "io.read_file", "py_function", None])
def test_refuse_code_refuses_a_stored_function(function: str | None) -> None:
    layer = {"class_name": "TFOpLambda", "config": {"name": "stored", "function": function}}
    with pytest.raises(UnreadableLayerError, match="TFOpLambda layer, which is code"):
        refuse_code({"class_name": "Functional", "config": {"layers": [layer]}})


def test_load_model_refuses_classes_from_other_modules(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    network().save(path)

    def unknown_layer(configuration: Any) -> Any:
        configuration["config"]["layers"][1] |= {"module": "os", "class_name": "system"}
        return configuration

    change_keras(path, unknown_layer, "3.15.1")
    with pytest.raises(UnreadableLayerError, match="author's own, system"):
        load_model(path)


def test_load_model_says_when_a_file_holds_weights_alone(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = ["a"]
    with pytest.raises(ValueError, match="contains weights, not a complete model"):
        load_model(tmp_path / "weights.h5")


def layer(kind: str, name: str, source: str | None = None, **config: Any) -> dict[str, Any]:
    """A layer as Keras 2 describes it in an HDF5 file."""
    nodes = {} if source is None else {"inbound_nodes": [[[source, 0, 0, {}]]]}
    return {"class_name": kind, "name": name, "config": {"name": name, "dtype": "float32"} | config} | nodes


def write_nested(path: Path, kernel: np.ndarray, matrix: np.ndarray) -> None:
    """What Teachable Machine exports: a Sequential of two, the first with a Functional body."""
    import h5py

    shape = {"batch_input_shape": [None, 16, 16, 3]}
    inner = [
        {**layer("InputLayer", "input_1", **shape), "inbound_nodes": []},
        layer("Conv2D", "conv", "input_1", filters=4, kernel_size=[3, 3], use_bias=False),
    ]
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["conv", 0, 0]]}
    body = {"class_name": "Functional", "config": {"name": "model1", "layers": inner} | ends}
    pool = layer("GlobalAveragePooling2D", "pool", data_format="channels_last")
    dense = layer("Dense", "dense", units=3, activation="softmax", use_bias=False)
    first = layer("Sequential", "first", layers=[layer("InputLayer", "model1_input", **shape), body, pool])
    second = layer(
        "Sequential", "second", layers=[layer("InputLayer", "dense_input", batch_input_shape=[None, 4]), dense]
    )
    whole = layer("Sequential", "whole", layers=[layer("InputLayer", "first_input", **shape), first, second])
    with h5py.File(path, "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"], file.attrs["backend"] = (
            json.dumps(whole),
            "2.4.0",
            "tensorflow",
        )
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"first", b"second"]
        for group, name, value in (("first", "conv/kernel:0", kernel), ("second", "dense/kernel:0", matrix)):
            weights.create_group(group).attrs["weight_names"] = [name.encode()]
            weights[group][name] = value


def test_load_model_reads_nested_models_of_teachable_machine(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    kernel = random.normal(0, 1, (3, 3, 3, 4)).astype(np.float32)
    matrix = random.normal(0, 1, (4, 3)).astype(np.float32)
    write_nested(tmp_path / "keras_model.h5", kernel, matrix)
    windows = np.lib.stride_tricks.sliding_window_view(IMAGE[0], (3, 3), axis=(0, 1))
    scores = np.einsum("hwcij,ijck->k", windows, kernel) / windows.shape[0] / windows.shape[1] @ matrix
    expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    np.testing.assert_allclose(load_model(tmp_path / "keras_model.h5")(IMAGE)[0], expected, atol=1e-5)
