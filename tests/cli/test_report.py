from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.invoke import run


def test_report_says_what_to_run_when_nothing_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", "--json", "--workspace", str(tmp_path)) == 1
    output = capsys.readouterr()
    (problem,) = json.loads(output.out)["errors"]
    assert problem["what"] == "nothing is trained yet"
    assert "toolkit demo" in problem["remedy"]
