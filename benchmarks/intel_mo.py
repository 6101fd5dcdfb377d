"""Intel's Model Optimizer (`mo`) 2021.4.2, the converter that sticks were used with: its environment, and a run of it.

It reads a frozen graph of TensorFlow, on Python 3.9, with the packages of requirements/legacy/mo.txt; they are installed
once into the user's cache, beside those of the older runtimes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from toolkit import hashing
from toolkit.convert.runtimes.interpreters import ensure_python
from toolkit.progress import create_progress
from toolkit.system.cache_dirs import cache_dir

_LOCK = Path(__file__).parents[1] / "requirements" / "legacy" / "mo.txt"
_ONCE = Path(__file__).with_name("intel_mo_once.py")


def environment() -> Path:
    """The interpreter of an environment that holds `mo`; made the first time, which fetches 250 MB.

    Raises:
        MachineError: there is no Python 3.9.
    """
    folder = cache_dir("legacy") / f"mo-{hashing.sha256_file(_LOCK)}"
    finished, python = folder / "finished", folder / "bin" / "python"
    if not finished.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        base = ensure_python("3.9", create_progress())
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", str(base), str(folder)], check=True)
        argv = [uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps", "--require-hashes"]
        subprocess.run([*argv, "--requirement", str(_LOCK)], check=True)
        finished.touch()
    return python


def freeze(file: Path, frozen: Path) -> None:
    """Write the Keras model of `file` as a frozen graph: one function, its variables made constants."""
    from toolkit.networks.tf_runtime import start_tensorflow

    tf = start_tensorflow()
    import keras
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = keras.saving.load_model(file, compile=False)
    signature = [tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="image")]
    traced = tf.function(lambda image: model(image, training=False), signature, autograph=False)
    graph = convert_variables_to_constants_v2(traced.get_concrete_function()).graph.as_graph_def()
    frozen.write_bytes(graph.SerializeToString())


def convert(frozen: Path, folder: Path) -> float:
    """Seconds that `mo` takes for FP32 and FP16; `folder` then holds fp32.xml and fp16.xml."""
    argv = [str(environment()), str(_ONCE), str(frozen), str(folder)]
    quiet = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env=quiet)
    return float(done.stdout.splitlines()[-1])
