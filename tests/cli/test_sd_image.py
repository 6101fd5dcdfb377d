"""`toolkit fleet image` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from toolkit.cli.main import app


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--wifi", "home"], "apply to official images"),
        (["--address", "192.0.2.14/24", "--gateway", "192.0.2.1"], "apply to official images"),
        (["--image", "missing.img.xz"], "cannot be read"),
        (["--image", "missing.img", "--wifi", "home"], "8 to 63 characters"),
    ],
)
def test_wrong_options_of_an_image_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA anna@laptop\n")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["fleet", "image", "kitchen", "--key", "key.pub", *options])
    assert result.exit_code in {1, 2}
    text = f"{result.output}{result.exception}"
    assert message in " ".join(text.split())
    assert not list(tmp_path.glob("kitchen*"))
