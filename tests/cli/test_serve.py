from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.cli.main import app


def test_serve_names_alert_rules_that_cannot_fire(
    tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "alerts.json"
    rule = {"name": "door", "label": "dog", "above": 80}
    rules.write_text(json.dumps({"alert": [rule], "webhook": {"url": "http://127.0.0.1:9/"}}))
    options = ["--alerts", str(rules), "--source", "none", "--no-open", "--workspace", str(tmp_path)]
    outcome = CliRunner().invoke(app, ["serve", str(tiny_bundle), *options])
    assert outcome.exit_code != 0
    shown = capfd.readouterr().err
    assert 'the model has no label "dog"; it has dark, light' in shown
    assert "above: 80" in shown
