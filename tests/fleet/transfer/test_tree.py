from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import BundleError
from toolkit.fleet.transfer.tree import build_tree


def test_build_tree_depends_on_paths_and_bytes_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"same")
    assert build_tree({"a": tmp_path / "file"}).digest == build_tree({"a": b"same"}).digest
    assert build_tree({"b": b"same"}).digest != build_tree({"a": b"same"}).digest
    assert build_tree({"a": b"same", "b": b"same"}).size_bytes == 4


def test_build_tree_reads_regular_files_only(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("secret")
    for path in (tmp_path / "link", tmp_path):
        with pytest.raises(BundleError, match="cannot be read"):
            build_tree({"a": path})
