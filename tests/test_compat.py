from __future__ import annotations

from pathlib import Path

import pytest

from toolkit import compat
from toolkit.errors import ConfigurationError

FILE = Path(compat.__file__).with_name("compat.toml")


def test_known_holds_the_targets_when_read() -> None:
    assert list(compat.known().targets) == ["cpu", "cpu-2022", "litert", "ncs2"]
    ncs2 = compat.find_target("ncs2")
    assert (ncs2.container, ncs2.opset, ncs2.accelerators) == (10, 6, ("MYRIAD", "CPU"))


def test_find_target_lists_the_known_ones_when_there_is_none() -> None:
    with pytest.raises(ConfigurationError, match="cpu, cpu-2022, litert, ncs2"):
        compat.find_target("tpu")


def test_check_precision_says_why_when_the_stick_gets_int8() -> None:
    with pytest.raises(ConfigurationError, match="FP16 only"):
        compat.check_precision(compat.find_target("ncs2"), "int8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 9", "the format is 9"),
        ("format = 1", "format = ", "cannot be read"),
        ('generations = ["2026"]', 'generations = ["1999"]', r"targets\.cpu\.generations.*1999"),
        ("container = 11\nopset = 16", "container = 12\nopset = 16", "does not read container 12"),
        ("summary = ", "sumary = ", r"targets\.cpu\.sumary: Unexpected keyword argument"),
        ('api = "openvino"\n', "", r"generations\.2023\.api: Field required"),
        ('versions = ["2021.3.0", "2021.4.2"]', "", r"generations\.2021\.versions: Field required"),
        (
            'versions = ["2021.3.0", "2021.4.2"]',
            'versions = ["2021.3.0"]',
            r"generations\.2021\.versions\.1: Field required",
        ),
        ("opset = 16", 'opset = "many"', r"generations\.2023\.opset: Input should be a valid integer"),
        ("[targets.cpu]", "[other.cpu]", r"a table is missing or has another form|Unexpected keyword"),
        ("[[generations]]", "[generations]", r"cannot be read|another form"),
    ],
)
def test_load_names_table_and_key_when_the_file_is_off(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "compat.toml"
    path.write_text(FILE.read_text().replace(old, new))
    with pytest.raises(ConfigurationError, match=message):
        compat.load(path)
