from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import toolkit
from toolkit.progress import Lines, escape_control, format_bytes, log_error


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


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (12, "12 B"), (8200, "8.2 kB"), (100_000, "0.1 MB"), (3_400_000, "3.4 MB"), (2 * 10**9, "2.0 GB")],
)
def test_format_bytes_never_shows_a_file_as_nothing(size: int, text: str) -> None:
    assert format_bytes(size) == text


def test_every_bar_names_its_unit() -> None:
    titles = [
        match[1]
        for path in Path(toolkit.__file__).parent.rglob("*.py")
        for match in re.finditer(r'(?:\.track\(|parallel_map\(.*, )f?"([^"]+)",', path.read_text())
    ]
    units = ("images", "devices", "machines", "files", "runs", "masks", "steps")
    assert len(titles) >= 8
    assert [title for title in titles if not title.endswith(units)] == []
