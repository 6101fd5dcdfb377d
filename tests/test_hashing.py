from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import hashing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=st.dictionaries(st.text(), JSON))
def test_of_value_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert hashing.of_value(value) == hashing.of_value(dict(reversed(value.items())))


def test_of_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert hashing.of_file(tmp_path / "f") == hashing.of_bytes(b"abc")


def test_written_whole_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with hashing.written_whole(path) as stream:
            stream.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_written_whole_replaces_when_writing_ends(tmp_path: Path) -> None:
    with hashing.written_whole(tmp_path / "new" / "f") as stream:
        stream.write(b"new")
    assert (tmp_path / "new" / "f").read_bytes() == b"new"
