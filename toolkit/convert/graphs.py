"""Normalize OpenVINO graphs: u8 image in, "probabilities" out, and the same bytes from the same model every time.

Parts of a graph that change from run to run (numbers in names, OpenVINO's annotations) are replaced.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np

from toolkit import hashing

if TYPE_CHECKING:
    import openvino as ov

Sections = Mapping[str, Mapping[str, str]]
_NONE: Sections = {}

INPUT = "image"
OUTPUT = "probabilities"

_TO_PLANES, _FROM_PLANES = [0, 3, 1, 2], [0, 2, 3, 1]
_ROOM_BYTES = 1 << 20
"""With less free space than this, a file that OpenVINO could not write is taken to have filled the disk."""
_EDGES_END = "\t</edges>\n"
_NET_NAME = re.compile(r'<net name="[^"]*"')


def set_nchw_input(model: ov.Model) -> None:
    """Let the image come as planes, u8 [1,3,H,W]: the transpose that a graph of NHWC images begins with goes.

    A graph that is not about one image stays as it is.
    """
    import openvino as ov
    from openvino import opset1

    (parameter,) = model.get_parameters()
    shape = tuple(parameter.get_shape())
    if len(shape) != 4 or shape[3] != 3 or parameter.get_element_type() != ov.Type.u8:
        return
    converted = _only_reader(parameter)
    entry = converted if converted and converted.get_type_name() == "Convert" else parameter
    readers = list(entry.output(0).get_target_inputs())
    parameter.set_partial_shape(ov.PartialShape([shape[axis] for axis in _TO_PLANES]))
    back = opset1.transpose(entry, opset1.constant(np.array(_FROM_PLANES)))
    for reader in readers:
        node = reader.get_node()
        if _turns_to_planes(node):
            node.output(0).replace(entry.output(0))
        else:
            reader.replace_source_output(back.output(0))
    model.validate_nodes_and_infer_types()


def add_first_class(model: ov.Model) -> ov.Model:
    """Return `model` with f32 [1,2] probabilities if it had that of the second of two classes alone.

    Other programs, OpenVINO's Model API among them, expect one output per label.
    """
    import openvino as ov
    from openvino import opset1

    (result,) = model.get_results()
    if tuple(result.get_output_shape(0)) != (1, 1):
        return model
    signed = opset1.multiply(result.input_value(0), opset1.constant(np.array([[-1.0, 1.0]], np.float32)))
    both = opset1.add(signed, opset1.constant(np.array([[1.0, 0.0]], np.float32)))
    return ov.Model([opset1.result(both)], model.get_parameters(), "toolkit")


def _only_reader(node: Any) -> Any | None:
    readers = [reader.get_node() for reader in node.output(0).get_target_inputs()]
    return readers[0] if len(readers) == 1 else None


def _turns_to_planes(node: Any) -> bool:
    order = node.input_value(1).get_node() if node.get_type_name() == "Transpose" else None
    return order is not None and order.get_type_name() == "Constant" and order.data.tolist() == _TO_PLANES


def name_operations(model: ov.Model) -> None:
    """Give every operation a name that depends on the graph alone, and the two ends the names devices look for.

    An operation that the tracer left under its Keras layer's name keeps that ("dense/MatMul"); the others are numbered
    by type in the graph's order ("Convolution_3").
    """
    numbers: Counter[str] = Counter()
    taken: set[str] = set()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        numbers[kind] += 1
        name = _layer_name(node)
        if name is None or name in taken:
            name = f"{kind}_{numbers[kind]}"
        taken.add(name)
        node.set_friendly_name(name)
        for port in range(node.get_output_size()):
            node.output(port).get_tensor().set_names(set())
    _name_ends(model)


def name_new_operations(model: ov.Model, known: set[str]) -> None:
    """Name those operations that are not among `known`, by type and order, so that the file is the same every time."""
    numbers: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        if node.get_friendly_name() not in known:
            node.set_friendly_name(_free_name(node.get_type_name(), numbers, known))


def _free_name(kind: str, numbers: Counter[str], known: set[str]) -> str:
    while True:
        numbers[kind] += 1
        name = f"{kind}_new_{numbers[kind]}"
        if name not in known:
            return name


def write(model: ov.Model, path: Path, *, container: int, compress: bool, sections: Sections = _NONE) -> None:
    """Write `model` to `path` (.xml) and the .bin beside it; `compress` stores the weights in FP16.

    `sections` become the file's rt_info, in place of OpenVINO's own: a table of texts for each name.
    """
    import openvino as ov

    path.parent.mkdir(parents=True, exist_ok=True)
    for key in list(model.get_rt_info()):
        del model.get_rt_info()[key]  # a graph that was read from container 11 says so, and could not become a 10
    try:
        if compress:
            ov.save_model(model, path, compress_to_fp16=True)
        else:
            ov.serialize(model, path, version=f"IR_V{container}")
    except RuntimeError as error:
        if "iostream" not in str(error):
            raise
        code = errno.ENOSPC if shutil.disk_usage(path.parent).free < _ROOM_BYTES else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error
    graph, end, _ = path.read_text(encoding="utf-8").rpartition(_EDGES_END)
    graph = _NET_NAME.sub('<net name="toolkit"', graph, count=1)
    path.write_text(f"{graph}{end}{_rt_info(sections)}</net>\n", encoding="utf-8")


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of a converted model: of an IR the .xml and the .bin beside it."""
    return (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,)


def digest_of(path: Path) -> str:
    """The digest of a converted model: of all of its files."""
    return hashing.sha256_json({file.suffix[1:]: hashing.sha256_file(file) for file in files_of(path)})


def size_of(path: Path) -> int:
    """Bytes of all files of a converted model."""
    return sum(file.stat().st_size for file in files_of(path))


def _layer_name(node: Any) -> str | None:
    """Make "dense/MatMul" of the tracer's "functional_1/dense_1/MatMul" (the numbers count traces, not layers)."""
    parts = str(node.get_friendly_name()).split("/")
    if len(parts) < 3:
        return None
    return "/".join([re.sub(r"_\d+$", "", parts[-2]), parts[-1]])


def _name_ends(model: ov.Model) -> None:
    """A reader of container 10 names an input after its Parameter and an output after what makes it."""
    (parameter,), (result,) = model.get_parameters(), model.get_results()
    parameter.set_friendly_name(INPUT)
    parameter.output(0).get_tensor().set_names({INPUT})
    source = result.input_value(0)
    source.get_node().set_friendly_name(OUTPUT)
    source.get_tensor().set_names({OUTPUT})
    result.set_friendly_name(f"{OUTPUT}/result")


def _rt_info(sections: Sections) -> str:
    return "\t<rt_info>\n" + "".join(_section(name, sections[name]) for name in sorted(sections)) + "\t</rt_info>\n"


def _section(name: str, table: Mapping[str, str]) -> str:
    rows = "".join(f"\t\t\t<{key} value={quoteattr(value)} />\n" for key, value in sorted(table.items()))
    return f"\t\t<{name}>\n{rows}\t\t</{name}>\n"
