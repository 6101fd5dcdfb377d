"""What differs between the two builds of TensorFlow that networks are trained with; nothing else asks which it is.

    stock    tensorflow-cpu or tensorflow, with Keras 3
    mkl      intel-tensorflow 2.14, with MKL and OpenMP and Keras 2.14, in an environment of its own

A .keras file of Keras 2 is read by both; one of Keras 3 by Keras 3 alone.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.networks.tf_runtime import is_keras_2, start_tensorflow

if TYPE_CHECKING:
    import keras

_CONFIGURATION, _FACTS = "config.json", "metadata.json"


def versions() -> dict[str, str]:
    """What computes here. Packages go by either name of TensorFlow's wheels; the stock build's goes without saying."""
    found = {"tensorflow": start_tensorflow().__version__, "keras": version("keras")}
    return found | ({"build": "mkl"} if is_mkl() else {})


def is_mkl() -> bool:
    """Whether this interpreter's TensorFlow is the MKL/OpenMP build."""
    try:
        return bool(version("intel-tensorflow"))
    except PackageNotFoundError:
        return False


def rename(model: keras.Model, name: str) -> None:
    """Give a model another name; Keras 2 has no public way."""
    if is_keras_2():
        model._name = name  # noqa: SLF001
    else:
        model.name = name


def tensors(variables: Sequence[Any]) -> list[Any]:
    """What a GradientTape differentiates by: Keras 3 wraps TensorFlow's variables, Keras 2 does not."""
    return list(variables) if is_keras_2() else [variable.value for variable in variables]


def array(variable: Any) -> np.ndarray:
    """What a variable holds."""
    held: np.ndarray = variable.numpy() if is_keras_2() else variable.value.numpy()
    return held


def state(model: keras.Model) -> list[Any]:
    """All variables that going on takes, those of random layers among them; Keras 2 keeps those out of `variables`."""
    generators = [getattr(layer, "_random_generator", None) for layer in model.layers] if is_keras_2() else []
    made = [getattr(generator, "_generator", None) for generator in generators]
    return [*model.variables, *(generator.state for generator in made if generator is not None)]


def readers(layer: Any) -> list[Any]:
    """The layers that take this one's output; Keras has no public name for it."""
    nodes = layer._outbound_nodes  # noqa: SLF001
    return [node.layer if is_keras_2() else node.operation for node in nodes]


def load(path: Path) -> keras.Model:
    """The model in a .keras file, with no code of its own run.

    Raises:
        OSError: there is no such file.
        TypeError, ValueError: it is no .keras file, or holds code, or was saved by a Keras that this one cannot read.
    """
    start_tensorflow()
    import keras

    if not zipfile.is_zipfile(path):
        return keras.models.load_model(path, compile=False, safe_mode=True)
    with zipfile.ZipFile(path) as archive:
        saved = str(json.loads(archive.read(_FACTS)).get("keras_version", "")) if _FACTS in archive.namelist() else ""
    if saved.partition(".")[0] == keras.__version__.partition(".")[0] or not saved:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    if is_keras_2():
        raise ValueError(
            f"it was saved by Keras {saved}, which comes with the stock build of TensorFlow; this interpreter's MKL "
            f"build has Keras {keras.__version__}, which cannot read it"
        )
    with tempfile.TemporaryDirectory(prefix="keras-") as folder:
        return keras.models.load_model(_translated(path, Path(folder)), compile=False, safe_mode=True)


def _translated(path: Path, folder: Path) -> Path:
    """A copy of a Keras 2 file that says what it holds in Keras 3's words."""
    copy = folder / "model.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == _CONFIGURATION:
                content = json.dumps(json.loads(content, object_hook=_in_keras_3)).encode()
            new.writestr(name, content)
    return copy


def _in_keras_3(told: dict[str, Any]) -> dict[str, Any]:
    """One object of a Keras 2 configuration: Keras 3 has its models elsewhere, and takes fewer words for two layers."""
    if told.get("module") == "keras.src.engine.functional":
        return told | {"module": "keras.src.models.functional", "config": _counted_from_0(told["config"])}
    if told.get("class_name") == "BatchNormalization" and isinstance(told["config"].get("axis"), list):
        return told | {"config": told["config"] | {"axis": told["config"]["axis"][0]}}
    if told.get("class_name") == "DepthwiseConv2D":
        return told | {"config": {key: value for key, value in told["config"].items() if key != "groups"}}
    return told


def _counted_from_0(model: dict[str, Any]) -> dict[str, Any]:
    """A model's configuration in which the uses of the models inside it are counted from 0: Keras 2 counts from 1."""
    inside = {layer["name"] for layer in model["layers"] if layer["class_name"] == "Functional"}

    def counted(source: Any) -> Any:
        if isinstance(source, list) and source and isinstance(source[0], str) and source[0] in inside:
            return [source[0], max(source[1] - 1, 0), *source[2:]]
        return [counted(one) for one in source] if isinstance(source, list) else source

    layers = [layer | {"inbound_nodes": counted(layer["inbound_nodes"])} for layer in model["layers"]]
    return model | {"layers": layers, "output_layers": counted(model["output_layers"])}
