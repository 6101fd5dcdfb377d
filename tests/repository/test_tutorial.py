"""The tutorial is run as it stands, in an empty folder; what the guides say is held against the commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from toolkit.cli.main import app

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = (
    "README.md",
    "docs/tutorial.md",
    *(f"docs/guides/{name}.md" for name in ("capture", "extend", "label", "operate", "train")),
)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The toolkit's own programs first, and one thread for each: machines that test have others to serve."""
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TOOLKIT_")}
    return inherited | threads | {"PATH": path, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_tutorial_works_from_the_first_block_to_the_last(
    repository: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    script = "\n".join(f"echo '== {n}'\n{block}" for n, block in enumerate(blocks(repository / "docs/tutorial.md")))
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(["toolkit", "fleet", "down"], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert "bars@v2" in (tmp_path / "workspace/reports/bars/index.html").read_text(encoding="utf-8")
    current = next(tmp_path.glob("workspace/fleet/devices/local-1/opt/toolkit/current"))
    assert json.loads((current / "manifest.json").read_bytes())["labels"] == ["lying", "standing", "square"]
    assert len((tmp_path / "records.csv").read_text().splitlines()) == 1 + 2 * 3 * 2 * 3
    assert done.stdout.count("standing") > 1


def commands(page: Path) -> list[str]:
    """Every line of a page's blocks that calls the toolkit, and every call in its text that has words of its own."""
    text = page.read_text(encoding="utf-8")
    mentioned = re.findall(r"`(toolkit [a-z]+ [^`]+)`", BLOCK.sub("", text))
    lines = "\n".join(blocks(page)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("toolkit ")] + mentioned


def parsed(argv: list[str]) -> None:
    """Let the commands' own parser read the words; it says what it cannot."""
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "commands"):
        context = command.make_context(command.name or "toolkit", argv[:1], parent=context, resilient_parsing=True)
        name, *argv = argv
        assert name in command.commands, name
        command = command.commands[name]
    if argv:  # a text may name a command without its words
        command.make_context(command.name, argv, parent=context)


@pytest.mark.parametrize("page", PAGES)
def test_pages_say_what_the_commands_understand(
    repository: Path, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "key"
    key.touch()
    result = commands(repository / page)
    assert result
    for line in result:
        argv = shlex.split(re.split(r"\s(?:\|\||&&|\||>)\s", line)[0], comments=True)[1:]
        argv = [str(key) if word.startswith("~/") else word for word in argv]  # a file that is asked for must be there
        try:
            parsed(argv)
        except Exception as error:  # noqa: BLE001 - whatever the parser raises is what the test tells
            pytest.fail(f"{page}: {line}: {getattr(error, 'message', error)}")


def test_pages_name_recipes_that_there_are(repository: Path) -> None:
    just = shutil.which("just", path=str(Path(sys.executable).parent))
    listed = subprocess.run(
        [str(just), "--summary"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.split()
    mentioned = {
        name
        for page in PAGES
        for block in blocks(repository / page)
        for name in re.findall(r"^just ([a-z-]+)", block, re.MULTILINE)
    }
    assert mentioned <= set(listed)
