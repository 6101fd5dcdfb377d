"""Read the pickles of CIFAR without calling any function: dictionaries, lists, text, numbers, u8 arrays.

A pickle may name any function to call. This reader accepts three names of NumPy, replaces them by harmless functions, and
refuses all others, so that a hostile file cannot run code.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class _Dtype:
    """Stands for numpy.dtype; only unsigned bytes are taken."""

    def __init__(self, name: object, *_rest: object) -> None:
        if name not in {b"u1", "u1"}:
            raise pickle.UnpicklingError(f"an array of {name!r}, not of unsigned bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment say nothing about bytes."""


class _Array:
    """Stands for numpy.ndarray: shape and bytes."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.content = b""
        self.columns_first = False

    def __setstate__(self, state: Any) -> None:
        _version, self.shape, dtype, self.columns_first, content = state
        if not isinstance(dtype, _Dtype):
            raise pickle.UnpicklingError("an array without a type")
        self.content = content.encode("latin-1") if isinstance(content, str) else bytes(content)


def _reconstruct(*_arguments: object) -> _Array:
    """Stands for NumPy's function of that name; the state that follows says all there is to know."""
    return _Array()


def _encode(text: str, encoding: object) -> bytes:
    """Stands for _codecs.encode, by which newer Pythons write bytes into old pickles."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("text in an unknown encoding")
    return text.encode("latin-1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a known name."""
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR file needs") from None


def read_pickle(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle of Python 2 or 3; keys and texts as str, arrays as u8 ndarray.

    Raises:
        ValueError: it is cut short, no pickle, no dictionary, or names something to call.
    """
    try:
        _check_operations(content)
        value = _Reader(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise ValueError(f"refused or truncated pickle: {error}") from None
    except Exception as error:  # noqa: BLE001  # a damaged pickle may raise anything
        raise ValueError(f"truncated or damaged pickle: {type(error).__name__}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a pickled {type(value).__name__}, not a dictionary")  # noqa: TRY004  # the file is wrong
    return {_plain(key, inner=True): _plain(item) for key, item in value.items()}


def _check_operations(content: bytes) -> None:
    """Refuse memo places beyond the pickle's length, for which the unpickler would make room."""
    for operation, argument, _position in pickletools.genops(content):
        if operation.name in _MEMO_WRITES and int(str(argument)) > len(content):
            raise pickle.UnpicklingError(f"a memo place of {argument} in {len(content)} bytes")


_MEMO_WRITES = {"PUT", "BINPUT", "LONG_BINPUT"}


def _plain(value: Any, *, inner: bool = False) -> Any:
    """Plain values; lists hold no lists, which could name one another and grow without end."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list) and not inner:
        return [_plain(item, inner=True) for item in value]
    if isinstance(value, _Array):
        return _array(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"a {type(value).__name__}{' in a list' if inner else ''}, which no CIFAR file has")


def _array(held: _Array) -> npt.NDArray[np.uint8]:
    import numpy as np

    array = np.frombuffer(held.content, np.uint8)
    try:
        return array.reshape(held.shape, order="F" if held.columns_first else "C")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"an array of {len(array)} bytes that says its shape is {held.shape}") from None
