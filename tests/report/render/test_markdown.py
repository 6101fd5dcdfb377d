from __future__ import annotations

import pytest

from toolkit.report.render.markdown import escape


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>", "&lt;script&gt;"),
        ("a|b", "a\\|b"),
        ("[x](y)", "\\[x\\](y)"),
        ("a\nb", "a b"),
        ("with_mask", "with_mask"),
    ],
)
def test_escape_shows_the_text_as_it_is(text: str, expected: str) -> None:
    assert escape(text) == expected
