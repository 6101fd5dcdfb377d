from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_every_attack_of_the_security_chapter_is_a_test() -> None:
    rows = re.findall(r"((?:`test_\w+`(?:, )?)+) \((tests/[\w/]+\.py)\)", (REPOSITORY / "docs/security.md").read_text())
    assert len(rows) >= 20
    missing = [
        (path, name)
        for names, path in rows
        for name in re.findall(r"test_\w+", names)
        if f"def {name}(" not in (REPOSITORY / path).read_text()
    ]
    assert not missing
