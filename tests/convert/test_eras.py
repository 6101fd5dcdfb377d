"""Real old runtimes on their real Python."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import compat
from toolkit.convert import convert_model, eras
from toolkit.errors import MachineError
from toolkit.progress import Silent


@pytest.fixture
def pictures() -> Any:
    return np.random.default_rng(5).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(("target", "expected"), [("cpu", []), ("cpu-2022", ["2022"]), ("ncs2", ["2021", "2022"])])
def test_eras_of_names_those_that_read_it_when_asked(target: str, expected: list[str]) -> None:
    assert [era.name for era in eras.eras_of(compat.find_target(target))] == expected


@pytest.mark.eras
@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("target", "era"), [("cpu-2022", "2022"), ("ncs2", "2021"), ("ncs2", "2022")])
def test_compare_agrees_when_lowered_for_the_era(
    shared_line: Any, pictures: Any, head: str, precision: str, target: str, era: str
) -> None:
    line = shared_line
    ir = convert_model(getattr(line, head), precision, target, line.workspace, line.store, Silent())
    found = eras.compare(line.workspace.absolute(ir.path), compat.known().eras[era], precision, pictures, Silent())
    assert found.passed, found
    assert found.openvino.startswith(era)
    assert found.pictures == 40


@pytest.mark.eras
def test_compare_gives_the_eras_own_words_when_it_cannot_read_the_file(shared_line: Any, pictures: Any) -> None:
    line = shared_line
    ir = convert_model(line.softmax, "fp32", "cpu", line.workspace, line.store, Silent())
    found = eras.compare(line.workspace.absolute(ir.path), compat.known().eras["2021"], "fp32", pictures, Silent())
    assert not found.passed
    assert "Cannot find reader" in found.failure


def test_find_python_says_what_to_do_when_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TOOLKIT_PYTHON39", raising=False)
    with pytest.raises(MachineError, match=r"uv python install 3\.9"):
        eras.find_python("3.9")


def test_prepare_says_so_when_the_machine_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MachineError, match="Linux on x86-64"):
        eras.prepare(compat.known().eras["2021"], Silent())
