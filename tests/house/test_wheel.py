"""The built wheel: whole, and the same bytes each time."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path


def build(house: Path, into: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", into],
        cwd=house,
        check=True,
        capture_output=True,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


def test_wheel_is_the_same_bytes_when_built_twice(house: Path, tmp_path: Path) -> None:
    first, second = build(house, tmp_path / "first"), build(house, tmp_path / "second")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_wheel_holds_exactly_package_files_and_experiments(
    house: Path, tmp_path: Path, tracked: tuple[Path, ...]
) -> None:
    package, models = house / "toolkit", house / "models"
    expected = {str(path.relative_to(house)) for path in tracked if package in path.parents}
    expected |= {f"toolkit/{path.relative_to(house)}" for path in tracked if models in path.parents}
    with zipfile.ZipFile(build(house, tmp_path)) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == expected
