from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.fleet.transfer.chunks import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, chunks_of, split, tensors_of

spans = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 900_000)), max_size=30)


@given(size=st.integers(0, 3_000_000), tensors=spans)
def test_split_covers_the_file_without_gaps(size: int, tensors: list[tuple[int, int]]) -> None:
    pieces = split(size, tensors)
    ends = [begin + length for begin, length in pieces]
    assert [begin for begin, _ in pieces] == [0, *ends[:-1]]
    assert ends[-1] == size
    assert all(0 < length <= MAX_CHUNK_BYTES for _, length in pieces) or size == 0


@given(sizes=st.lists(st.integers(1, 400_000), min_size=3, max_size=12), data=st.data())
def test_split_keeps_chunks_of_tensors_when_earlier_bytes_grow(sizes: list[int], data: st.DataObject) -> None:
    grown = data.draw(st.integers(1, 200_000))
    tensors = [np.random.default_rng(number).bytes(size) for number, size in enumerate(sizes)]
    before, after = ({chunk.sha256 for chunk in _chunks([first, *tensors[1:]])} for first in (tensors[0], bytes(grown)))
    for tensor in tensors[1:]:
        if len(tensor) >= MIN_CHUNK_BYTES and min(sum(sizes), sum(sizes[1:]) + grown) > MAX_CHUNK_BYTES:
            assert {hashlib.sha256(tensor[:MAX_CHUNK_BYTES]).hexdigest()} <= before & after


def _chunks(tensors: list[bytes]) -> list[object]:
    offsets = np.cumsum([0, *map(len, tensors)]).tolist()
    content = b"".join(tensors)
    return list(chunks_of(content, split(len(content), zip(offsets, map(len, tensors), strict=False))))


def test_cut_joins_small_neighbors() -> None:
    tensors = [(number * 1000, 1000) for number in range(400)]
    pieces = split(400_000, tensors)
    assert len(pieces) == 7
    assert all(MIN_CHUNK_BYTES <= length < MIN_CHUNK_BYTES + 1000 for _, length in pieces[:-1])


def test_tensors_of_reads_offsets_in_any_order_of_attributes() -> None:
    xml = b"""<net><layer type="Const"><data element_type="f16" shape="2" offset="4" size="4" /></layer>
    <layer><data size="4" offset="0"/></layer><layer><data axis="1"/></layer></net>"""
    assert tensors_of(xml) == ((0, 4), (4, 4))
    assert tensors_of(b"no xml") == ()
