from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "docs_reliability.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reliability", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_docs_reliability_says_what_the_tests_say(script: ModuleType) -> None:
    assert script.FILE.read_text(encoding="utf-8") == script.render(), (
        "docs/reliability.md is behind the tests: just docs-reliability"
    )


def test_faults_are_proven_by_the_aftermath(script: ModuleType) -> None:
    assert [fault.test for fault in script.faults() if "aftermath" not in fault.arguments] == []
    assert {fault.serves for fault in script.faults()} <= {"old", "new", "old or new"}
