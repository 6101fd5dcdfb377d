from __future__ import annotations

import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import pytest

from toolkit import networks
from toolkit.progress import Silent

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class FloatStorage:
    """Named by its module "torch" in a pickle, as torch's own is."""


def _rebuild_tensor_v2(*_: object) -> None:
    """Likewise of "torch._utils"."""


class _Record:
    """Pickles as torch pickles a tensor."""

    def __init__(self, key: str, array: np.ndarray, offset: int = 0) -> None:
        self.key, self.array, self.offset = key, array, offset

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        return _rebuild_tensor_v2, (_Key(self.key, self.array.size), self.offset, self.array.shape, strides, False, {})


class _Key:
    def __init__(self, key: str, count: int) -> None:
        self.identity = ("storage", FloatStorage, key, "cpu", count, None)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> object:
        return value.identity if isinstance(value, _Key) else None


class TorchFiles:
    """Makes files of torch's old format without torch."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "weights.pth"

    def make(self, arrays: Mapping[str, np.ndarray], *, offset: int = 0) -> bytes:
        named = OrderedDict((name, _Record(name, array, offset)) for name, array in arrays.items())
        return self.of_object(named, arrays)

    def of_object(self, named: object, arrays: Mapping[str, np.ndarray]) -> bytes:
        with self._path.open("wb") as stream:
            for value in (MAGIC, PROTOCOL, {"little_endian": True}):
                pickle.dump(value, stream, protocol=2)
            _Pickler(stream, protocol=2).dump(named)
            pickle.dump(list(arrays), stream, protocol=2)
            for array in arrays.values():
                stream.write(struct.pack("<q", array.size) + array.astype("<f4").tobytes())
        return self._path.read_bytes()


@pytest.fixture
def torch_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TorchFiles:
    torch, inner = ModuleType("torch"), ModuleType("torch._utils")
    torch.FloatStorage, inner._rebuild_tensor_v2 = FloatStorage, _rebuild_tensor_v2  # type: ignore[attr-defined]
    for name, module, own in (("torch", torch, FloatStorage), ("torch._utils", inner, _rebuild_tensor_v2)):
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(own, "__module__", name)
    return TorchFiles(tmp_path)


class Assembled(Protocol):
    """Makes a model for two classes and images of 32 pixels, the same every time."""

    def __call__(self, network: networks.Network, *, weights: str | Path = "none", dropout: float = 0) -> Any: ...


@pytest.fixture(scope="session")
def assembled() -> Assembled:
    def make(network: networks.Network, *, weights: str | Path = "none", dropout: float = 0) -> Any:
        networks.start_tensorflow()
        import keras

        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        return networks.assemble(
            network,
            networks.find_head("softmax", 2),
            size=(32, 32),
            classes=2,
            hidden=(),
            weights=weights,
            progress=Silent(),
            dropout=dropout,
        )

    return make


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Two raw images, f32 [2, 32, 32, 3]."""
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("f4")


@pytest.fixture(scope="session", autouse=True)
def started() -> None:
    """Threads are set before anything computes, as the toolkit's own ways in do it."""
    networks.start_tensorflow()
