"""Functions that run in the confined worker: the parsers and runtimes of untrusted files."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy.typing as npt

from toolkit.convert.imported.formats import open_model
from toolkit.convert.imported.formats.model_file import ModelFile, Runtime, damaged
from toolkit.errors import DataError, MachineError, ToolkitError


def inspect(path: str, size: list[int] | None, signature: str, out: str) -> dict[str, Any]:
    """Write the file's graph as graph.xml into the folder `out`; return what the file says of itself."""
    import openvino as ov

    file = _open(path, tuple(size) if size else None, signature)
    try:
        digests = file.digests()
        ov.serialize(file.graph(), str(Path(out) / "graph.xml"))
        scales = [file.input_scale(), file.output_scale()]
        facts = file.facts()
    except ToolkitError:
        raise
    except ImportError as error:
        raise _missing(error) from None
    except Exception as error:
        raise damaged(file.path, str(error)) from error
    return {
        "format": file.format,
        "digests": digests,
        "digest": file.digest(),
        "facts": dataclasses.asdict(facts),
        "scales": [scale and [scale.scale, scale.zero_point] for scale in scales],
    }


def answer(path: str, size: list[int] | None, signature: str, inputs: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """What the format's own runtime answers to inputs [n,…], one at a time."""
    run = _runtime(path, tuple(size) if size else None, signature)
    return [run(inputs[index : index + 1]).reshape(-1) for index in range(len(inputs))]


@functools.lru_cache(maxsize=1)
def _open(path: str, size: tuple[int, int] | None, signature: str) -> ModelFile:
    return open_model(Path(path), size, signature)


@functools.lru_cache(maxsize=1)
def _runtime(path: str, size: tuple[int, int], signature: str) -> Runtime:
    file = _open(path, size, signature)
    try:
        return file.runtime()
    except ToolkitError:
        raise
    except ImportError as error:
        raise _missing(error) from None
    except Exception as error:
        why = " ".join(str(error).strip().splitlines()[-1:])[:300]
        remedy = "export it for the version that is installed here, or in another format"
        raise DataError(f"{file.runtime_name} cannot run it: {why}", where=path, remedy=remedy) from error


def _missing(error: ImportError) -> ToolkitError:
    return MachineError(f"importing this model needs {error.name}", remedy="install the extra `train`")
