from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.invoke import run
from toolkit.cli import user_config

SHOW_A_BAR = """
from toolkit.progress import create_progress
with create_progress().track("Loading images", 3) as bar:
    bar.advance(3)
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setenv(user_config.VARIABLE, str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TOOLKIT_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)
    return path


def test_options_and_environment_go_before_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def workspace_used(*argv: str) -> str:
        assert run("check", "abcd", *argv) != 0
        return capsys.readouterr().err.partition("bundles in ")[2].partition(":")[0]

    assert workspace_used() == "workspace"
    config.write_text('workspace = "~/of-all"\n')
    assert workspace_used() == str(config.parent / "of-all")
    config.write_text('workspace = "~/of-all"\n[check]\nworkspace = "of-check"\n')
    assert workspace_used() == "of-check"
    monkeypatch.setenv("TOOLKIT_WORKSPACE", "of-environment")
    assert workspace_used() == "of-environment"
    assert workspace_used("--workspace", "of-command-line") == "of-command-line"


@pytest.mark.slow
def test_a_group_and_its_command_have_tables(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def devices() -> list[str]:
        assert run("fleet", "list", "--json") == 0
        return [device["name"] for device in json.loads(capsys.readouterr().out)]

    config.write_text('[fleet]\ninventory = "one,"\n')
    assert devices() == ["one"]
    config.write_text('[fleet]\ninventory = "one,"\n[fleet.list]\ninventory = "two,three,"\n')
    assert devices() == ["two", "three"]


def test_every_mistake_is_named_with_its_place(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(
        'workspac = "x"\nquiet = "yes"\nforks = "many"\nlog-format = "xml"\njson = true\n'
        "[bench]\nfors = 2\n[flet]\nforks = 5\n[deploy]\nbundle = 'x'\n"
    )
    assert run("report", "--json") == 3
    captured = capsys.readouterr()
    problems = {
        problem["where"].partition(": ")[2]: (problem["what"], problem["remedy"])
        for problem in json.loads(captured.out)["errors"]
    }
    assert {*problems} == {*("workspac", "quiet", "forks", "log-format", "json", "bench.fors", "flet", "deploy.bundle")}
    assert problems["workspac"] == ("there is no option --workspac to set", "remove it, or write workspace")
    assert problems["flet"] == ("there is no command flet", "remove it, or write fleet")
    assert "'text', 'json'" in problems["log-format"][0]


@pytest.mark.parametrize("content", [b"forks = ", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_broken_file_is_no_obstacle_to_help(content: bytes, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_bytes(content)
    assert run("report") == 3
    assert f"{config}: cannot be read" in capsys.readouterr().err
    assert run("report", "--help") == 0
    assert run("--version") == 0
    assert capsys.readouterr().out.rstrip().endswith(f"config {config}")


def test_the_file_lies_where_the_user_keeps_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(user_config.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_config.config_file() == tmp_path / "edge-vision-toolkit" / "config.toml"
    monkeypatch.setenv(user_config.VARIABLE, "")
    assert user_config.config_file() is None


@pytest.mark.parametrize(
    ("environment", "colors", "moves"),
    [({}, True, True), ({"NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False)],
)
def test_a_terminal_gets_what_it_can_show(environment: dict[str, str], colors: bool, moves: bool) -> None:
    shown = on_a_terminal([sys.executable, "-c", SHOW_A_BAR], {"TERM": "xterm-256color", **environment})
    assert (b"\x1b[3" in shown) == colors
    assert (b"\x1b[2K" in shown) == moves
    assert b"Loading images" in shown


def on_a_terminal(argv: list[str], environment: dict[str, str]) -> bytes:
    """Return what a program writes to a terminal on its stderr."""
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    with subprocess.Popen(argv, stderr=theirs, env={**inherited, **environment}) as program:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the program has closed its side
                break
        assert program.wait() == 0
    os.close(ours)
    return shown


def test_the_documented_example_is_accepted(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documented = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    config.write_text(documented.partition("```toml\n")[2].partition("```")[0])
    assert run("completion", "bash") == 0
    assert "complete" in capsys.readouterr().out
