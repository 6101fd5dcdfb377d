"""OpenVINO's readers of other formats, with explanations of their errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.convert.imported.formats.model_file import damaged
from toolkit.errors import ConversionError, DataError, Problem, ToolkitError

if TYPE_CHECKING:
    import openvino as ov

_MISSING = re.compile(r"(No conversion rule found for operations|Conversion is failed for): (.+)")


def read_graph(framework: str, file: Path, named: Path) -> ov.Model:
    """The graph in `file`; errors name `named`, the file that the user gave.

    Raises:
        ConversionError: with every operation that OpenVINO cannot convert.
        DataError: nothing that OpenVINO reads is in it.
    """
    from openvino.frontend import FrontEndManager

    frontend = FrontEndManager().load_by_framework(framework)
    try:
        graph = frontend.convert(frontend.load(str(file)))
    except Exception as error:
        raise explain(named, str(error)) from error
    if not graph.inputs or not graph.outputs:
        raise damaged(named, "no model was found in it")
    return graph


def explain(path: Path, message: str) -> ToolkitError:
    """The error for what a frontend says: operations by name, or its own words."""
    missing = _MISSING.search(message)
    if not missing:
        return cannot_convert(path, message)
    what = "cannot convert the operation" if missing[1].startswith("No") else "cannot convert this use of the operation"
    remedy = "export the model without it: with other layers, or an older opset"
    names = [name.strip() for name in missing[2].split(",")]
    return ConversionError.from_problems([Problem(f"OpenVINO {what} {name}", str(path), remedy) for name in names])


def cannot_convert(path: Path, message: str) -> DataError:
    """The error for a whole file that OpenVINO cannot take, with the cause that it gives."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()] or ["no reason given"]
    return DataError(
        f"OpenVINO cannot convert it: {lines[-1][:300]}", where=str(path), remedy="export the model in another format"
    )


def metadata_text(value: Any) -> str:
    """A value of rt_info as text."""
    return str(getattr(value, "value", value))
