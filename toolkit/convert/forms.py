"""The form a model takes for a target and a precision, written to disk."""

from __future__ import annotations

from pathlib import Path

from toolkit.compat import Target
from toolkit.convert import graphs
from toolkit.convert.source import Source


def write_form(source: Source, target: Target, precision: str, folder: Path) -> Path:
    """Write the IR of `source` into `folder` and return the .xml's path.

    The file names its model, target and precision, so two IRs of different purpose never share a digest.
    """
    import openvino as ov

    model = ov.Core().read_model(source.graph)
    path = folder / "model.xml"
    notes = {"model": source.model.digest, "precision": precision, "target": target.name}
    graphs.write(model, path, container=target.container, compress=precision == "fp16", notes=notes)
    return path
