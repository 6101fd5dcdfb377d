"""Start TensorFlow once, in the same way everywhere: quiet, on the available CPUs, with reproducible results."""

from __future__ import annotations

import functools
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from toolkit.networks import tf_compat
from toolkit.system.cpu_quota import available_cpus


@functools.cache
def start_tensorflow() -> Any:
    """TensorFlow, imported and set up; call it before anything imports keras.

    Threads per operation are the CPUs that this process may use, unless TF_NUM_INTRAOP_THREADS says otherwise.
    Operations are deterministic: the same seed on the same machine gives the same weights.
    """
    tf = import_tensorflow()
    with native_noise_held_back():
        tf.constant(0)  # starts the runtime, which logs on its own
    return tf


@functools.cache
def import_tensorflow() -> Any:
    """TensorFlow, imported and set up, whose runtime has not started: only then can it join other processes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with native_noise_held_back():
        import tensorflow as tf

        _set_threads(tf)
        tf.config.experimental.enable_op_determinism()
        tf_compat.keep_random_state(tf)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tf


def _set_threads(tf: Any) -> None:
    if "TF_NUM_INTRAOP_THREADS" not in os.environ:
        tf.config.threading.set_intra_op_parallelism_threads(available_cpus())


@contextmanager
def native_noise_held_back() -> Iterator[None]:
    """Keep what native code writes to file descriptor 2; show it only if the block fails.

    TensorFlow's C++ logs before it reads its own log level.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as remaining:
        real = os.dup(2)
        os.dup2(remaining.fileno(), 2)
        try:
            yield
        except Exception:
            remaining.seek(0)
            os.write(real, remaining.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
