"""The table [capture] of the settings file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.device.app.captures.capture_settings import CaptureLimits, read_capture_settings
from toolkit.device.app.regions import Region
from toolkit.device.capture_record import POLICIES
from toolkit.device.errors import DeviceError


def write(folder: Path, table: Any, **others: Any) -> Path:
    path = folder / "settings.json"
    path.write_text(json.dumps({"capture": table, **others}))
    return path


def test_captures_are_off_unless_asked_for(tmp_path: Path) -> None:
    assert read_capture_settings(None, tmp_path / "current") is None
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    assert read_capture_settings(empty, tmp_path / "current") is None


def test_an_empty_table_means_the_defaults(tmp_path: Path) -> None:
    settings = read_capture_settings(write(tmp_path, {}), tmp_path / "current")
    assert settings is not None
    assert (settings.folder, settings.policies, settings.masks) == (tmp_path / "captures", POLICIES, ())
    assert settings.limits == CaptureLimits()


def test_all_settings_are_read(tmp_path: Path) -> None:
    table = {"policies": ["random"], "random_every": 5, "folder": "/srv/x", "masks": [[0, 0, 0.5, 1]], "most": 7}
    settings = read_capture_settings(write(tmp_path, table), tmp_path / "bundle")
    assert settings is not None
    assert (settings.folder, settings.policies, settings.limits.most) == (Path("/srv/x"), ("random",), 7)
    assert settings.masks == (Region(0, 0, 0.5, 1),)


def test_region_covers_all_outside_of_it(tmp_path: Path) -> None:
    settings = read_capture_settings(write(tmp_path, {"region": [0.25, 0, 1, 0.5]}), tmp_path / "current")
    assert settings is not None
    assert {*settings.masks} == {Region(0, 0.5, 1, 1), Region(0, 0, 0.25, 1)}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ([], "is not a table"),
        ({"policy": ["random"]}, "policy: is not known"),
        ({"policies": ["sometimes"]}, "policies: is not a list"),
        ({"policies": []}, "policies: is not a list"),
        ({"policies": [["random"]]}, "policies: is not a list"),
        ({"random_every": 0}, "random_every: is not from 1"),
        ({"random_every": 1.5}, "random_every: should be int"),
        ({"most": True}, "most: should be int"),
        ({"margin": 1.5}, "margin: 1.5 is not"),
        ({"cool_down_s": -1}, "cool_down_s: -1 is not"),
        ({"retention_days": 0}, "retention_days: 0 is not"),
        ({"folder": "captures"}, "folder: captures is not an absolute path"),
        ({"masks": {}}, "masks: is not a list"),
        ({"masks": [[0, 0, 1]]}, "is not [left, top, right, bottom]"),
        ({"region": [0.5, 0, 0.5, 1]}, "is not a rectangle"),
    ],
)
def test_settings_refuse_what_is_not_valid(tmp_path: Path, table: Any, problem: str) -> None:
    with pytest.raises(DeviceError) as refused:
        read_capture_settings(write(tmp_path, table), tmp_path / "current")
    assert problem in str(refused.value)


@pytest.mark.parametrize("release", ["current", "releases/" + "a" * 64])
def test_captures_go_to_the_root_of_the_release(tmp_path: Path, release: str) -> None:
    settings = read_capture_settings(write(tmp_path, {}), tmp_path / release)
    assert settings is not None
    assert settings.folder == tmp_path / "captures"


def test_a_bundle_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="folder: is missing"):
        read_capture_settings(write(tmp_path, {}), tmp_path / "bundle")


def test_settings_refuse_another_table(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="captures: is not known"):
        read_capture_settings(write(tmp_path, {}, captures={}), tmp_path / "current")
