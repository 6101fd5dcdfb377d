"""An SD card's image. The tier `pi` makes one and starts it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from toolkit.errors import UsageError
from toolkit.progress import Silent
from toolkit.virtual.sd_image import _copy_sparsely, make_card, partition_table


def test_partition_table_says_where_both_are() -> None:
    table = partition_table((0x0C, 4 << 20, 256 << 20), (0x83, 260 << 20, 1 << 30))
    assert len(table) == 512
    assert table[510:] == b"\x55\xaa"
    kinds = [(table[place + 4], *struct.unpack("<II", table[place + 8 : place + 16])) for place in (446, 462, 478)]
    assert kinds == [(0x0C, 8192, 524288), (0x83, 532480, 2097152), (0, 0, 0)]


def test_copy_sparsely_leaves_holes_and_changes_no_byte(tmp_path: Path) -> None:
    content = b"first" + bytes(5 << 20) + b"last"
    (tmp_path / "source").write_bytes(content)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        _copy_sparsely(source, target)
    assert (tmp_path / "target").read_bytes() == content
    assert (tmp_path / "target").stat().st_blocks * 512 < 3 << 20


@pytest.mark.parametrize(("name", "user"), [("Kitchen", "pi"), ("kitchen", "root of"), ("-x", "pi"), ("ä", "pi")])
def test_make_card_refuses_names_before_it_does_anything(tmp_path: Path, name: str, user: str) -> None:
    with pytest.raises(UsageError, match="cannot be"):
        make_card(name, (), tmp_path / "card.img", Silent(), user=user)
    assert not list(tmp_path.iterdir())
