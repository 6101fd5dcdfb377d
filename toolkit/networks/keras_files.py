"""Load Keras models from .keras and .h5 files of any Keras version, without running code from the file.

A file's configuration is read and checked first. What an older Keras called otherwise is translated, and every layer must be
one of Keras' own: a Lambda layer or a class of the author's would be code.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.networks.tf_compat import is_keras_2
from toolkit.networks.tf_runtime import start_tensorflow
from toolkit.system.clean_copy import CONFIGURATION, FACTS, check_sizes

if TYPE_CHECKING:
    import keras

_MODELS = {"Functional", "Model"}
_CODE = {
    *("Lambda", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty", "__lambda__"),
    *("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__typespec__"),
    *("StringLookup", "IntegerLookup", "TextVectorization"),
}
"""Layers that are code, bring another framework's model along, or read a file that their configuration names."""
_PLACES = {
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "mixed_precision", "models"),
    *("engine", "losses", "metrics", "ops", "optimizers", "regularizers", "trainers"),
}
"""Of Keras' modules, those that hold what a model is made of: `keras.utils`, for one, can fetch and unpack files."""
_ARITHMETIC = {"__operators__.add", "math.add", "math.multiply", "math.subtract", "math.truediv"}
"""Functions of TensorFlow that Keras 2 stores as TFOpLambda layers, by name, and that do nothing but arithmetic."""
_OUTDATED = {
    "groups",
    "kernel_initializer",
    "kernel_regularizer",
    "kernel_constraint",
    "time_major",
    "implementation",
    "rng_type",
}
"""Arguments that Keras 2 wrote for layers that Keras 3 gives them no longer."""

Translation = Callable[[dict[str, Any]], dict[str, Any]]


class UnreadableLayerError(ValueError):
    """A layer that is code, or whose class is not in the file; `layer` is its class."""

    def __init__(self, message: str, layer: str) -> None:
        super().__init__(message)
        self.layer = layer


def load_model(path: Path, *, float32: bool = False) -> keras.Model:
    """The model in a .keras or .h5 file; with `float32`, every layer computes in it whatever the file says.

    Raises:
        OSError: there is no such file.
        UnreadableLayerError: it has a layer that is code.
        TypeError, ValueError, KeyError: it is not a Keras model, or was saved by a Keras that this one cannot read.
    """
    start_tensorflow()
    import keras

    if not zipfile.is_zipfile(path):
        return _load_h5(path, float32=float32)
    with zipfile.ZipFile(path) as archive:
        check_sizes(archive)
        configuration = json.loads(archive.read(CONFIGURATION))
        saved = str(json.loads(archive.read(FACTS)).get("keras_version", "")) if FACTS in archive.namelist() else ""
    refuse_code(configuration)
    changed = _translated(configuration, saved, float32=float32)
    if changed == configuration:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    with tempfile.TemporaryDirectory(prefix="keras-") as folder:
        copy = _with_configuration(path, changed, Path(folder))
        return keras.models.load_model(copy, compile=False, safe_mode=True)


def refuse_code(configuration: Any) -> None:
    """Check that every object of a configuration is one of Keras' own.

    Raises:
        UnreadableLayerError: naming the first that is not.
    """
    for described in _objects(configuration):
        kind = str(described.get("class_name"))
        module = str(described.get("module") or "keras")
        if kind in _CODE and not _is_arithmetic(described):
            raise UnreadableLayerError(f"has a {kind} layer, which is code", kind)
        root, *inner = module.replace(".src.", ".").split(".")
        registered = str(described.get("registered_name") or "")
        own = root in {"keras", "tf_keras", "builtins"} and _PLACES.issuperset(inner[:1]) and ">" not in registered
        if not own:
            raise UnreadableLayerError(f"has a layer of its author's own, {kind}, which is not in the file", kind)


def _is_arithmetic(described: dict[str, Any]) -> bool:
    """Whether a layer is plain arithmetic as Keras 2 stores it; Keras 3 does not have such layers."""
    config = described.get("config")
    function = config.get("function") if isinstance(config, dict) else None
    return is_keras_2() and described["class_name"] == "TFOpLambda" and function in _ARITHMETIC


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for each in value.values():
            yield from _objects(each)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each)


def _load_h5(path: Path, *, float32: bool) -> keras.Model:
    """An HDF5 file of any Keras; Keras 3 reads it once its configuration is in Keras 3's terms."""
    import h5py
    import keras

    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            raise ValueError("it contains weights, not a complete model: save it with model.save")
        written = file.attrs["model_config"]
        saved = file.attrs.get("keras_version", "2")
    configuration = json.loads(written)
    refuse_code(configuration)
    changed = _translated(configuration, saved.decode() if isinstance(saved, bytes) else str(saved), float32=float32)
    if changed == configuration:
        return keras.models.load_model(path, compile=False)
    with tempfile.TemporaryDirectory(prefix="keras-") as folder:
        copy = Path(folder) / "model.h5"
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            del file.attrs["model_config"]
            file.attrs["model_config"] = json.dumps(changed)
        return keras.models.load_model(copy, compile=False)


def _with_configuration(path: Path, configuration: dict[str, Any], folder: Path) -> Path:
    copy = folder / "model.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(configuration) if name == CONFIGURATION else old.read(name))
    return copy


def _translated(configuration: Any, saved: str, *, float32: bool) -> Any:
    """The configuration as this Keras reads it."""
    steps: list[Translation] = []
    if saved.startswith(("1", "2")):
        if not is_keras_2():
            steps.append(_from_keras_2)
    elif saved and is_keras_2():
        raise ValueError(
            f"it was saved by Keras {saved}, and the TensorFlow of this interpreter has Keras 2, which cannot read "
            "it: use the environment of the stock build"
        )
    if float32:
        steps.append(_in_float32)
    for step in steps:
        configuration = json.loads(json.dumps(configuration), object_hook=step)
    return configuration


def _in_float32(described: dict[str, Any]) -> dict[str, Any]:
    """Half-precision policies become float32; the stored weights of mixed policies are float32 already."""
    halves = {"mixed_float16", "mixed_bfloat16", "float16", "bfloat16"}
    if described.get("class_name") in {"DTypePolicy", "Policy"} and described.get("config", {}).get("name") in halves:
        return described | {"config": described["config"] | {"name": "float32"}}
    if isinstance(described.get("dtype"), str) and described["dtype"] in halves and "name" in described:
        return described | {"dtype": "float32"}
    return described


def _from_keras_2(described: dict[str, Any]) -> dict[str, Any]:
    """One object of a Keras 2 configuration: Keras 3 has its models in other modules, and fewer arguments for some layers."""
    if str(described.get("module")).startswith("tf_keras"):  # Keras 2 as a package of its own
        described = described | {"module": described["module"].removeprefix("tf_")}
    kind, config = described.get("class_name"), described.get("config")
    if kind == "Sequential" and isinstance(config, list):  # before Keras 2.2
        return described | {"config": {"name": "sequential", "layers": config}}
    if not isinstance(config, dict):
        return described
    if kind in _MODELS and "layers" in config:
        home = {"module": "keras.src.models.functional"} if "module" in described else {}
        return described | home | {"class_name": "Functional", "config": _counted_from_0(config)}
    if kind == "BatchNormalization" and isinstance(config.get("axis"), list):
        config = config | {"axis": config["axis"][0]}
    return described | {"config": _known_arguments(str(kind), config)}


def _known_arguments(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a layer without the arguments that its class no longer takes."""
    import keras

    layer = getattr(keras.layers, kind, None)
    if layer is None:
        return config
    taken = inspect.signature(layer.__init__).parameters
    return {key: value for key, value in config.items() if key not in _OUTDATED or key in taken}


def _counted_from_0(model: dict[str, Any]) -> dict[str, Any]:
    """A model's configuration in which the uses of the models inside it are counted from 0: Keras 2 counts from 1."""
    inside = {
        layer["config"].get("name") for layer in model["layers"] if layer["class_name"] in {*_MODELS, "Sequential"}
    }

    def counted(source: Any) -> Any:
        if isinstance(source, list) and source and isinstance(source[0], str) and source[0] in inside:
            return [source[0], max(source[1] - 1, 0), *source[2:]]
        return [counted(one) for one in source] if isinstance(source, list) else source

    layers = [layer | {"inbound_nodes": counted(layer["inbound_nodes"])} for layer in model["layers"]]
    ends = {"input_layers": model["input_layers"], "output_layers": counted(model["output_layers"])}
    return model | {"layers": layers} | {name: _single(each) for name, each in ends.items()}


def _single(ends: list[Any]) -> list[Any]:
    """One input or output by itself: of a list of one, Keras 3 makes a model that returns a list."""
    return ends[0] if len(ends) == 1 and isinstance(ends[0], list) else ends
