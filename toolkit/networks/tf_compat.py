"""Differences between the two builds of TensorFlow: which one runs, what its Keras lacks, which settings it reads.

stock    tensorflow-cpu or tensorflow, with Keras 3
mkl      intel-tensorflow 2.14, with MKL and OpenMP and Keras 2.14, in an environment of its own
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np

MKL_PYTHON = Path(".venv-mkl/bin/python")
"""The interpreter of the MKL build, relative to the repository."""
_MKL = "intel-tensorflow"


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
        return bool(version(_MKL))
    except PackageNotFoundError:
        return False


def has_mkl(python: Path) -> bool | None:
    """Return whether its TensorFlow is the MKL/OpenMP build; None if TensorFlow or the toolkit is missing."""
    code = (
        "from importlib.metadata import distributions as d; n = {(x.name or '').lower().replace('_', '-') for x in d()}; "
        f"print('edge-vision-toolkit' in n, '{_MKL}' in n, bool({{'tensorflow', 'tensorflow-cpu'}} & n))"
    )
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    toolkit, mkl, stock = (word == "True" for word in done.stdout.split())
    return mkl if toolkit and (mkl or stock) else None


def openmp(threads: int, block_ms: int = 1) -> dict[str, str]:
    """Return the environment of the MKL build for a number of threads, which wait busily for `block_ms`."""
    return {"OMP_NUM_THREADS": str(threads), "KMP_BLOCKTIME": str(block_ms)}


def openmp_variants(threads: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name and the environment of other settings of the MKL build that pay on some machines."""
    yield "each thread on its own", openmp(threads) | {"KMP_AFFINITY": "granularity=fine,compact,1,0"}
    yield "threads that wait busily", openmp(threads, 200)


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
