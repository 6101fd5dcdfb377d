"""`toolkit deploy` without a bundle takes what the report recommends, after it was confirmed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.cli import deploy
from toolkit.errors import UsageError
from toolkit.progress import Silent


@pytest.fixture
def options(tmp_path: Path) -> Any:
    return SimpleNamespace(workspace=tmp_path, progress=Silent())


def recommend(monkeypatch: pytest.MonkeyPatch, bundle: object) -> None:
    monkeypatch.setattr("toolkit.report.recommend", lambda *_: SimpleNamespace(bundle=bundle, reason="it is the best"))


BUNDLE = SimpleNamespace(name="tiny-fp16", short="abcdef", digest="abcdef" * 10)


def test_recommended_bundle_is_deployed_with_yes(monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    recommend(monkeypatch, BUNDLE)
    store: Any = None
    assert deploy._recommended(options, store, confirmed=True) == BUNDLE.digest
    assert options.progress.messages == ["recommended: tiny-fp16 (abcdef): it is the best"]


def test_recommended_bundle_needs_yes_without_a_terminal(monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    recommend(monkeypatch, BUNDLE)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    store: Any = None
    with pytest.raises(UsageError, match=r"(?s)tiny-fp16.*--yes"):
        deploy._recommended(options, store, confirmed=False)


def test_nothing_is_deployed_when_nothing_is_recommended(monkeypatch: pytest.MonkeyPatch, options: Any) -> None:
    recommend(monkeypatch, None)
    store: Any = None
    with pytest.raises(UsageError, match="recommends no bundle: it is the best"):
        deploy._recommended(options, store, confirmed=True)
