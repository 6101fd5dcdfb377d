from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "docs_cli.py"


def test_docs_cli_says_what_the_commands_say() -> None:
    spec = importlib.util.spec_from_file_location("docs_cli", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.FILE.read_text(encoding="utf-8") == module.render(), (
        "docs/cli.md is behind the commands: just docs-cli"
    )
