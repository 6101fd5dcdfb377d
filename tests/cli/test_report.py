from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.cli.main import main


def leave(words: list[str]) -> int:
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


def test_report_says_what_to_run_when_nothing_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(["report", "--json", "--workspace", str(tmp_path)]) == 1
    said = capsys.readouterr()
    (problem,) = json.loads(said.out)["errors"]
    assert problem["what"] == "nothing is trained yet"
    assert "toolkit demo" in problem["remedy"]
