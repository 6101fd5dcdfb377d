"""Read torch's old weights format with NumPy alone, allowing only the classes that a state dict needs.

The file is four pickles (magic number, protocol, machine facts, state dict), a pickled list of storage keys, then each
storage as an int64 count and its raw little-endian elements. Unpickling can run anything a file names; here the file
may name only plain containers, and every tensor is checked against the storage that it claims to lie in.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np

from toolkit.errors import DataError
from toolkit.system.sandbox import ResourceLimits, Sandbox

_LIMITS = ResourceLimits(memory_bytes=4 << 30, file_bytes=0, seconds=120)
_MAGIC = 0x1950A86A20F9469CFC6C
_ELEMENTS = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_state_dict(content: bytes, where: str) -> dict[str, np.ndarray]:
    """The tensors in a weights file of torch before 1.6, by name, read in a confined worker.

    Raises:
        DataError: the file names other classes, is truncated, or is not such a file; nothing in it was run.
        SandboxError: reading it needs too much memory or time.
    """
    with Sandbox(limits=_LIMITS, where=where) as sandbox:
        tensors: dict[str, np.ndarray] = sandbox.call(
            "toolkit.networks.torch_weights:read_here", content=content, where=where
        )
    return tensors


def read_here(content: bytes, where: str) -> dict[str, np.ndarray]:
    """What `read_state_dict` runs in the worker."""
    try:
        return _read(io.BytesIO(content))
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - a hostile pickle can raise anything at all
        raise DataError(f"not a torch weights file that can be trusted: {error}", where=where) from None


def _read(stream: IO[bytes]) -> dict[str, np.ndarray]:
    if _Restricted(stream).load() != _MAGIC:
        raise ValueError("its first number is not torch's")
    _protocol, _machine = _Restricted(stream).load(), _Restricted(stream).load()
    named = _Restricted(stream).load()
    tensors = {name: value for name, value in named.items() if isinstance(value, _Tensor)}
    kinds = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {key: _read_storage(stream, kinds[key]) for key in _Restricted(stream).load()}
    return {name: _view(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(stream: IO[bytes], dtype: np.dtype[Any]) -> np.ndarray:
    (count,) = struct.unpack("<q", stream.read(8))
    content = stream.read(count * dtype.itemsize) if count >= 0 else b""
    if count < 0 or len(content) != count * dtype.itemsize:
        raise ValueError("it is cut short")
    return np.frombuffer(content, dtype)


def _view(tensor: _Tensor, storage: np.ndarray) -> np.ndarray:
    """A copy of the tensor, after checking that all of it lies inside its storage."""
    if len(tensor.size) != len(tensor.stride) or min((tensor.offset, *tensor.size, *tensor.stride)) < 0:
        raise ValueError("a tensor's shape is impossible")
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.size, tensor.stride, strict=True))
    if 0 not in tensor.size and last >= storage.size:
        raise ValueError("a tensor reaches outside its storage")
    strides = [stride * storage.itemsize for stride in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.size, strides).copy()


class _Restricted(pickle.Unpickler):
    """Knows five names; every other one is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _ELEMENTS:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilder()
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, identity: Any) -> _Storage:
        kind, element, key, *_ = identity
        if kind != "storage":
            raise pickle.UnpicklingError(f"it holds a {kind!r}")
        return _Storage(str(key), np.dtype(_ELEMENTS[element]))


def _rebuilder() -> Callable[..., _Tensor]:
    """A fresh function for each time one is named, so that a pickle that alters it alters nothing of ours."""

    def rebuild(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> _Tensor:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("it contains a tensor without a storage")
        return _Tensor(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))

    return rebuild
