"""Differences between the two builds of TensorFlow; no other module asks which one runs.

stock    tensorflow-cpu or tensorflow, with Keras 3
mkl      intel-tensorflow 2.14, with MKL and OpenMP and Keras 2.14, in an environment of its own
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


def versions() -> dict[str, str]:
    """The TensorFlow build in use. Packages go by either name of TensorFlow's wheels; the stock build's goes without saying."""
    result = {"tensorflow": _tensorflow_version(), "keras": version("keras")}
    return result | ({"build": "mkl"} if is_mkl() else {})


def _tensorflow_version() -> str:
    """As the installed package has it, because importing TensorFlow takes seconds."""
    for package in ("tensorflow-cpu", "tensorflow", "intel-tensorflow"):
        with suppress(PackageNotFoundError):
            return version(package)
    from toolkit.networks.tf_runtime import start_tensorflow

    return str(start_tensorflow().__version__)


@functools.cache
def is_keras_2() -> bool:
    """Whether this interpreter has the Keras that TensorFlow had up to 2.15."""
    return version("keras").startswith("2.")


def keep_random_state(tf: Any) -> None:
    """Let random layers keep their state in a variable, as those of Keras 3 do by themselves."""
    if is_keras_2():
        tf.keras.backend.experimental.enable_tf_random_generator()


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


def new_variable(value: np.ndarray) -> Any:
    """A variable that is not trained, of the kind that `tensors` and `array` take."""
    if is_keras_2():
        import tensorflow as tf

        return tf.Variable(value, trainable=False)
    import keras

    return keras.Variable(value, trainable=False)


def state(model: keras.Model) -> list[Any]:
    """All variables needed to resume training, including those of random layers; Keras 2 keeps those out of `variables`."""
    generators = [getattr(layer, "_random_generator", None) for layer in model.layers] if is_keras_2() else []
    made = [getattr(generator, "_generator", None) for generator in generators]
    return [*model.variables, *(generator.state for generator in made if generator is not None)]


def readers(layer: Any) -> list[Any]:
    """The layers that take this one's output; Keras has no public name for it."""
    nodes = layer._outbound_nodes  # noqa: SLF001
    return [node.layer if is_keras_2() else node.operation for node in nodes]
