from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.data import array_cache
from toolkit.errors import MachineError

WHOLE = np.arange(24, dtype=np.float32).reshape(6, 2, 2)


def put_all(rows: array_cache.RowWriter) -> None:
    rows.put(4, WHOLE[4:])
    rows.put(0, WHOLE[:4])


def cached(path: Path, message: list[str] | None = None) -> np.ndarray:
    return array_cache.load_or_create(path, WHOLE.shape, "f4", put_all, (message if message is not None else []).append)


def test_kept_maps_what_was_put_in_any_order_when_made(tmp_path: Path) -> None:
    made = cached(tmp_path / "cache" / "a.npy")
    assert isinstance(made, np.memmap)
    np.testing.assert_array_equal(made, WHOLE)
    np.testing.assert_array_equal(np.load(tmp_path / "cache" / "a.npy"), WHOLE)
    with pytest.raises(ValueError, match="read-only"):
        made[0] = 0


def test_kept_makes_nothing_when_it_is_there(tmp_path: Path) -> None:
    cached(tmp_path / "a.npy")
    again = array_cache.load_or_create(tmp_path / "a.npy", WHOLE.shape, "f4", pytest.fail, pytest.fail)
    np.testing.assert_array_equal(again, WHOLE)


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, 255), by=st.integers(1, 255))
def test_kept_makes_it_again_and_says_so_when_any_byte_changed(
    at: int, by: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, message = tmp_path_factory.mktemp("arrays") / "a.npy", list[str]()
    cached(path)
    content = bytearray(path.read_bytes())
    content[at] ^= by
    path.unlink()
    path.write_bytes(content)
    np.testing.assert_array_equal(cached(path, message), WHOLE)
    assert message == [f"  {path} is damaged; creating it again"]


@pytest.mark.parametrize("left", [0, 5, 100, 128 + 96, -1])
def test_kept_makes_it_again_when_the_file_was_cut(left: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    cached(path)
    path.write_bytes(path.read_bytes()[:left])
    np.testing.assert_array_equal(cached(path), WHOLE)


def test_find_is_none_when_shape_or_type_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    cached(path)
    assert array_cache.open_cached(path, (6, 4), "f4") is None
    assert array_cache.open_cached(path, WHOLE.shape, "f8") is None


def test_make_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    def fill(rows: array_cache.RowWriter) -> None:
        rows.put(0, WHOLE[:1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        array_cache.create(tmp_path / "a.npy", WHOLE.shape, "f4", fill)
    assert not list(tmp_path.iterdir())


def test_create_refuses_at_once_when_the_disk_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"4,000,000\.0 GB needed, .* free") as caught:
        array_cache.create(tmp_path / "a.npy", (10**15,), "f4", pytest.fail)
    assert caught.value.problems[0].where == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_make_says_what_is_needed_when_the_disk_fills_on_the_way(tmp_path: Path) -> None:
    def fill(rows: array_cache.RowWriter) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(MachineError, match=" needed"):
        array_cache.create(tmp_path / "a.npy", WHOLE.shape, "f4", fill)
    assert not list(tmp_path.iterdir())


def test_put_refuses_when_rows_are_of_another_form(tmp_path: Path) -> None:
    for rows in (WHOLE.astype("f8"), WHOLE[..., :1]):
        with pytest.raises(ValueError, match="rows float"):
            array_cache.create(tmp_path / "a.npy", WHOLE.shape, "f4", lambda put, rows=rows: put.put(0, rows))  # type: ignore[misc]


def test_kept_holds_little_in_memory_when_the_array_is_large(tmp_path: Path) -> None:
    row = np.ones((1, 1 << 16), np.uint8)
    tracemalloc.start()
    try:
        array = array_cache.load_or_create(
            tmp_path / "a.npy", (512, 1 << 16), "u1", lambda rows: [rows.put(i, row) for i in range(512)], print
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert array.sum() == array.size == 1 << 25
    assert peak < array.nbytes / 8
