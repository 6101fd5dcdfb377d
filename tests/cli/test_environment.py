"""Errors of the environment are one sentence with exit code 4, whatever the verb."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.cli import main as command
from toolkit.cli.main import main
from toolkit.store import Store

TOOLKIT = [sys.executable, "-m", "toolkit"]


def run(*argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
    argv_text = [*TOOLKIT, *map(str, argv)]
    env = {**os.environ, **environment}
    return subprocess.run(argv_text, capture_output=True, text=True, check=False, env=env, encoding="utf-8")


def exit_code(argv: list[str]) -> int:
    with pytest.raises(SystemExit) as left:
        main(argv)
    return int(left.value.code or 0)


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\x01 not a database " * 400)


def truncated(path: Path) -> None:
    with Store(path):
        pass
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.write_bytes(path.read_bytes()[:5000])


def folder(path: Path) -> None:
    path.mkdir()


def newer(path: Path) -> None:
    sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def other(path: Path) -> None:
    with Store(path):
        pass
    sqlite3.connect(path).execute("DROP TABLE artifact").connection.close()


READING = ("report", "check x", "inspect x", "parity x", "bench --compare", "data diff a b")


@pytest.mark.parametrize("damage", [garbage, truncated, folder, newer, pipe, other])
@pytest.mark.parametrize("verb", [*READING, "predict x y.png", "serve x", "publish x r/y:z"])
def test_damaged_database_is_one_sentence(
    tmp_path: Path, damage: object, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(damage)
    damage(tmp_path / "toolkit.db")
    assert exit_code([*verb.split(), "--workspace", str(tmp_path)]) == 4
    error = capsys.readouterr().err
    assert f"error: {tmp_path / 'toolkit.db'}: " in error
    assert "Traceback" not in error


@pytest.mark.parametrize("verb", READING)
def test_locked_database_is_one_sentence(
    tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("toolkit.store.connection._TIMEOUT_S", 0.2)
    with Store(tmp_path / "toolkit.db"):
        pass
    holder = sqlite3.connect(tmp_path / "toolkit.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert exit_code([*verb.split(), "--workspace", str(tmp_path)]) == 4
    finally:
        holder.close()
    assert "the database is locked by another process" in capsys.readouterr().err


@pytest.mark.parametrize("verb", READING)
def test_reading_verbs_read_while_another_process_writes(
    tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workspace is empty: what is not there is an error of use, not of the environment."""
    monkeypatch.setattr("toolkit.store.connection._TIMEOUT_S", 0.2)
    with Store(tmp_path / "toolkit.db"):
        pass
    writer = sqlite3.connect(tmp_path / "toolkit.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        assert exit_code([*verb.split(), "--workspace", str(tmp_path)]) in {1, 2}
    finally:
        writer.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "code", "sentence"),
    [("status --fleet", 4, "is not an SQLite database"), ("view kitchen", 1, "refuses connections")],
)
def test_devices_are_asked_or_the_damaged_database_is_named(
    tmp_path: Path, verb: str, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage(tmp_path / "toolkit.db")
    host = "{ansible_host: 127.0.0.1, ansible_port: 1}"
    (tmp_path / "hosts.yml").write_text(f"all: {{hosts: {{kitchen: {host}}}}}")
    options = ["--inventory", str(tmp_path / "hosts.yml"), "--workspace", str(tmp_path)]
    assert exit_code([*verb.split(), *options]) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/w/x"), "/w/x: there is no space left on the disk"),
        (OSError(errno.EROFS, "Read-only file system", "/w/x"), "/w/x: the file system is read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/home/x"), "/home/x: permission denied"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "the connection failed: Connection refused"),
        (TimeoutError("timed out"), "the connection failed: timed out"),
        (FileExistsError(errno.EEXIST, "File exists", "/w"), "/w: a file is in the place of a folder"),
        (OSError(errno.EBADMSG, "Bad message", "/w/x"), "/w/x: Bad message"),
        (MemoryError(), "there is not enough memory"),
    ],
)
def test_system_errors_are_one_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(command.user_config, "load_defaults", fail)
    assert exit_code(["report", "--json"]) == 4
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {sentence}")
    assert len(json.loads(captured.out)["errors"]) == 1


def test_other_exceptions_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(command.user_config, "load_defaults", fail)
    with pytest.raises(ZeroDivisionError):
        main(["report"])


@pytest.mark.parametrize("verb", ["doctor python --json", "completion bash", "--version"])
def test_full_stdout_exits_4(verb: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*TOOLKIT, *verb.split()], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr


def test_closed_pipe_ends_without_a_traceback() -> None:
    argv = f"{sys.executable} -m toolkit --quiet completion bash | true"
    done = subprocess.run(["bash", "-c", argv], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.slow
def test_ascii_output_is_readable(tmp_path: Path) -> None:
    done = run("report", "--workspace", tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "-> " in done.stderr


@pytest.mark.parametrize("module", ["typer", "toolkit.errors", "toolkit.cli.fleet_options", "toolkit.cli.view"])
def test_interrupt_while_importing_exits_130(tmp_path: Path, module: str) -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "toolkit", "data", "masks", "--workspace", str(tmp_path)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rstrip().endswith(f" {module}"):
                break
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()
    assert process.returncode == 130
    assert "interrupted" in error
    assert "Traceback" not in error


def test_unwritable_home_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file in the place of the folder")
    home = str(tmp_path / "home")
    done = run("data", "masks", "--workspace", tmp_path / "w", HOME=home, XDG_CACHE_HOME=f"{home}/.cache")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_slow_verb_says_something_within_a_second(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom toolkit.cli import main as m\n"
        "m.app.command('slow')(lambda: time.sleep(1.5))\nm.main(['slow'])"
    )
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "toolkit slow: loading\n"


@pytest.mark.slow
def test_messages_are_json_lines_when_asked(tmp_path: Path) -> None:
    done = run("--log-format", "json", "report", "--workspace", tmp_path)
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert records[-1]["level"] == "error"
    assert {"time", "message", "what", "remedy"} <= records[-1].keys()


@pytest.mark.slow
def test_quiet_prints_errors_only(tmp_path: Path) -> None:
    done = run("-q", "report", "--workspace", tmp_path)
    assert done.stderr.startswith("error: ")


@pytest.mark.slow
def test_debug_log_holds_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in run("-vv", "report", "--workspace", tmp_path).stderr
    assert "Traceback" not in run("-v", "report", "--workspace", tmp_path).stderr


def test_help_has_no_color_with_no_color() -> None:
    assert not re.search(r"\x1b\[(\d+;)*[39][0-7]m", run("deploy", "--help", NO_COLOR="1", FORCE_COLOR="1").stdout)
