from __future__ import annotations

import flatbuffers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.convert.imported.file_facts import PixelScaling
from toolkit.convert.imported.formats.tflite_metadata import read_normalization


def vector(builder: flatbuffers.Builder, tables: list[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def table(builder: flatbuffers.Builder, **fields: int) -> int:
    """A table with offsets in the fields _0, _1, …"""
    builder.StartObject(7)
    for name, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(int(name[1:]), offset, 0)
    return int(builder.EndObject())


def floats(builder: flatbuffers.Builder, values: tuple[float, ...]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def metadata(mean: tuple[float, ...], std: tuple[float, ...]) -> bytes:
    builder = flatbuffers.Builder(256)
    options = table(builder, _0=floats(builder, mean), _1=floats(builder, std))
    builder.StartObject(2)
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = int(builder.EndObject())
    taken = table(builder, _4=vector(builder, [unit]))
    builder.Finish(table(builder, _3=vector(builder, [table(builder, _2=vector(builder, [taken]))])), b"M001")
    return bytes(builder.Output())


def model(content: bytes, name: str = "TFLITE_METADATA") -> bytes:
    """A model without a graph, with metadata in its second buffer."""
    builder = flatbuffers.Builder(1024)
    empty = table(builder)
    buffer = table(builder, _0=int(builder.CreateByteVector(content)))
    text = builder.CreateString(name)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependUint32Slot(1, 1, 0)
    entry = int(builder.EndObject())
    builder.Finish(table(builder, _4=vector(builder, [empty, buffer]), _6=vector(builder, [entry])), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("mean", "std", "scaling"),
    [
        ((127.5,), (128.0,), PixelScaling((127.5,) * 3, (128.0,) * 3)),
        ((1.0, 2.0, 3.0), (4.0,), PixelScaling((1.0, 2.0, 3.0), (4.0,) * 3)),
        ((0.0,), (0.0,), None),
        ((1.0, 2.0), (1.0,), None),
        ((), (), None),
    ],
)
def test_read_normalization_reads_mean_and_deviation(
    mean: tuple[float, ...], std: tuple[float, ...], scaling: PixelScaling | None
) -> None:
    assert read_normalization(model(metadata(mean, std))) == scaling


def test_read_normalization_is_none_without_metadata() -> None:
    assert read_normalization(model(metadata((1.0,), (1.0,)), "min_runtime_version")) is None


@given(st.binary(max_size=64), st.integers(0, 500))
def test_read_normalization_never_fails(noise: bytes, at: int) -> None:
    whole = model(metadata((127.5,), (128.0,)))
    read_normalization(noise)
    read_normalization(whole[:at] + noise + whole[at + len(noise) :])
    read_normalization(whole[:at])
