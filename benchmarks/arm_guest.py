"""Runs on the emulated core: counts one inference and then two by the device's own code, and prints one JSON line.

    arm_guest.py MODEL IMAGE.npy [PRECISION]

It marks the counts for the plugin arm_count.c by getpriority(0x51A0, n), which Linux refuses. clock_ns is the same by the clock,
which counts instructions in a machine of arm_machine.py only.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.device.runtime import interface

REPEATS = (1, 2)


def kernels(model: Any) -> list[list[str]]:
    """Return what computes each layer as [layer, kernel] pairs."""
    if model.runtime == "LiteRT":
        return litert_kernels(model._single._interpreter)  # noqa: SLF001 - the device code has no use for it
    pairs = []
    for layer in model._compiled.get_runtime_model().get_ordered_ops():  # noqa: SLF001 - as above
        info = layer.get_rt_info()
        pairs.append([str(info[key].astype(str)) if key in info else "" for key in ("layerType", "primitiveType")])
    return pairs


def litert_kernels(interpreter: Any) -> list[list[str]]:
    """Return "xnnpack_TYPE" for the operations that a delegate took: those whose outputs only it writes."""
    operations = interpreter._get_ops_details()  # noqa: SLF001 - LiteRT has no other list of them
    kinds = {tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    layers = [each for each in operations if each["op_name"] != "DELEGATE"]
    inside = in_delegates(layers, [each for each in operations if each["op_name"] == "DELEGATE"])
    return [
        [each["op_name"], ("xnnpack_" if each["index"] in inside else "built-in_") + kinds.get(each["inputs"][0], "")]
        for each in layers
    ]


def in_delegates(layers: list[dict[str, Any]], delegates: list[dict[str, Any]]) -> set[int]:
    """Return the indices of the layers between each delegate's outputs and its inputs."""
    writers = {output: each for each in layers for output in each["outputs"]}
    inside: set[int] = set()
    for delegate in delegates:
        outside, todo = set(delegate["inputs"]), list(delegate["outputs"])
        while todo:
            each = writers.get(todo.pop())
            if each is not None and each["index"] not in inside:
                inside.add(each["index"])
                todo += [tensor for tensor in each["inputs"] if tensor not in outside]
    return inside


def main(path: str, image_path: str, precision: str | None = None) -> None:
    """Load, warm up, count, print."""
    mark = ctypes.CDLL(None).getpriority
    image = np.load(image_path)
    model = interface.load(Path(path), interface.Settings(threads=1, streams=1, precision=precision))
    model.infer(image)
    model.infer(image)
    clock_ns = []
    for number, repeats in enumerate(REPEATS, 1):
        began = time.perf_counter_ns()
        mark(0x51A0, 0)
        for _ in range(repeats):
            answer = model.infer(image)
        mark(0x51A0, number)
        clock_ns.append(time.perf_counter_ns() - began)
    used = model.used()
    record = {"version": model.version, "precision": used["precision"], "processor": used["device_name"]}
    record.update(clock_ns=clock_ns, kernels=kernels(model), answer=[float(value) for value in answer])
    print("REPORT " + json.dumps(record), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
