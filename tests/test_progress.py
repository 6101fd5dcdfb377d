from __future__ import annotations

import json

import pytest

from toolkit.progress import Lines, escape_control, log_error


@pytest.mark.parametrize("letter", ["\x1b", "\x07", "\r", "\x08", "\x7f", "\x9b", "\u202e", "\u2066"])
def test_log_prints_nothing_that_commands_a_terminal(letter: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a device reports reaches the terminal of whoever asks."""
    text = f"before{letter}[2Jafter\tü"
    Lines().log(text)
    log_error(text)
    shown = capsys.readouterr().err
    assert letter not in shown
    assert shown.count("before\N{REPLACEMENT CHARACTER}[2Jafter\tü") == 2
    assert json.loads(escape_control(json.dumps(text, ensure_ascii=False))) == text
    assert letter not in escape_control(json.dumps(text, ensure_ascii=False))
