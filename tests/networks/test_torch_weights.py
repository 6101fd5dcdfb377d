from __future__ import annotations

import pickle
import resource
import struct
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from toolkit.errors import DataError, ToolkitError
from toolkit.networks.torch_weights import read_state_dict

if TYPE_CHECKING:
    from conftest import TorchFiles


class Payload:
    """What a hostile file carries: a call of any function on unpickling."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.proof,)


def test_read_state_dict_gives_the_tensors_when_the_file(torch_files: TorchFiles) -> None:
    arrays = {"a.weight": np.arange(6, dtype="f4").reshape(2, 3), "b.bias": np.ones(4, "f4")}
    result = read_state_dict(torch_files.make(arrays), "weights.pth")
    assert result.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(result[name], array)


def test_read_state_dict_runs_nothing_when_the_pickle_is_hostile(torch_files: TorchFiles, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    content = torch_files.of_object(OrderedDict(weight=Payload(proof)), {})
    with pytest.raises(DataError, match="that can be trusted: it names"):
        read_state_dict(content, "weights.pth")
    assert not proof.exists()


def test_read_state_dict_runs_nothing_when_the_first_pickle(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    with pytest.raises(DataError):
        read_state_dict(pickle.dumps(Payload(proof)), "weights.pth")
    assert not proof.exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "torch.load", "collections.Counter"])
def test_read_state_dict_refuses_when_a_foreign_name_is_asked(name: str) -> None:
    module, attribute = name.split(".")
    with pytest.raises(DataError, match=name):
        read_state_dict(f"c{module}\n{attribute}\n.".encode(), "weights.pth")


def test_read_state_dict_refuses_when_a_tensor_reaches_outside(torch_files: TorchFiles) -> None:
    with pytest.raises(DataError, match="outside its storage"):
        read_state_dict(torch_files.make({"a": np.ones(4, "f4")}, offset=1), "weights.pth")


def test_read_state_dict_refuses_when_the_file_is_cut_short(torch_files: TorchFiles) -> None:
    content = torch_files.make({"a": np.ones(4, "f4")})
    with pytest.raises(DataError, match="cut short"):
        read_state_dict(content[:-1], "weights.pth")


def test_read_state_dict_refuses_when_the_file_is_something_else() -> None:
    with pytest.raises(DataError, match=r"weights\.pth: not a torch weights file"):
        read_state_dict(b"\x89PNG\r\n", "weights.pth")


def test_read_state_dict_survives_a_memo_bomb() -> None:
    """A few bytes that have the unpickler number an object by 2^31: it would make room for as many."""
    bomb = b"\x80\x02]r" + struct.pack("<I", (1 << 31) - 1) + b"."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ToolkitError, match=r"cannot be read|can be trusted|memory"):
        read_state_dict(bomb, "weights.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
