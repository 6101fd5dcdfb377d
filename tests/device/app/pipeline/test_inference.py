"""The stage that asks the accelerator, on its own."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from toolkit.device.app.pipeline.inference import InferenceWorker
from toolkit.device.app.pipeline.messages import Counters, DropOldestQueue
from toolkit.device.runtime.interface import Settings


class _Stack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def _has_signal_stack() -> bool:
    """Whether the thread that asks has a stack of its own for signals."""
    actual, none_set = _Stack(), 2
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(actual)) == 0
    return bool(actual.flags != none_set)


def test_begin_leaves_no_signal_stack_when_model_is_loaded(root: Path) -> None:
    engine = InferenceWorker(DropOldestQueue(1), Settings("CPU"), lambda *_: None, Counters(), lambda _: None)

    def load() -> tuple[bool, bool]:
        before = _has_signal_stack()
        engine.begin(root / "current")
        return before, _has_signal_stack()

    with ThreadPoolExecutor(1) as fresh:  # pytest's own thread has one
        try:
            assert fresh.submit(load).result() == (False, False)
        finally:
            engine.stop()
            engine.join(60)
            engine.let_go()
