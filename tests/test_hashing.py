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


@pytest.mark.slow
@given(value=st.dictionaries(st.text(), JSON))
def test_sha256_json_does_not_depend_on_the_order_of_keys(value: dict[str, object]) -> None:
    assert hashing.sha256_json(value) == hashing.sha256_json(dict(reversed(value.items())))


def test_sha256_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert hashing.sha256_file(tmp_path / "f") == hashing.sha256_bytes(b"abc")
