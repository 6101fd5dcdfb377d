from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLKIT = Path(sys.executable).with_name("toolkit")
ASKING = """
source {script}
COMP_WORDS=({command} "")
COMP_WORDS[$((${{#COMP_WORDS[@]}} - 1))]="{last}"
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
COMP_LINE="{command} {last}"
$(complete -p toolkit | sed 's/.*-F \\([^ ]*\\) .*/\\1/') toolkit
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def script(shell: str) -> str:
    return subprocess.run([TOOLKIT, "completion", shell], check=True, capture_output=True, text=True).stdout


def completed(tmp_path: Path, command: str, last: str) -> list[str]:
    """What a real bash offers after `command` for what begins with `last`."""
    file = tmp_path / "toolkit"
    file.write_text(script("bash"))
    asked = ASKING.format(script=file, command=command, last=last)
    path = f"{TOOLKIT.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], check=True, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "last", "offered"),
    [
        ("toolkit", "rep", {"report"}),
        ("toolkit", "d", {"demo", "data", "deploy", "doctor"}),
        ("toolkit fleet", "w", {"watch"}),
        ("toolkit bench", "--exp", {"--experiment", "--export"}),
        ("toolkit bench --scenario", "s", {"single-stream"}),
        ("toolkit completion", "", {"bash", "zsh", "fish"}),
    ],
)
def test_completion_offers_words_in_a_real_bash(tmp_path: Path, command: str, last: str, offered: set[str]) -> None:
    assert set(completed(tmp_path, command, last)) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_the_shell_reads(tmp_path: Path, shell: str) -> None:
    text = script(shell)
    assert "_TOOLKIT_COMPLETE" in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)
