"""One session of a device, by the code that the controller sends to devices without an agent, in a process of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from toolkit import hashing
from toolkit.deploy.session import CODE
from toolkit.device.activation.session import ActivationSession
from toolkit.fleet.transfer.scripts import LOADER, program
from toolkit.fleet.transfer.stream import tar_member

VERIFY = {"name": "verify", "run": "verify", "after_switch": False, "waits_for_turn": False}
HEALTHY = {"name": "healthy", "run": None, "after_switch": True, "waits_for_turn": False}
EMPTY_BLOCK = bytes(512)
"""Two of them end a tar archive."""
LOCK = {"do": "lock", "name": "deploy", "info": "me", "break": False}


class Process:
    """A session, asked line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._requests, self._answers = process, process.stdin, process.stdout

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._requests.write(json.dumps(request).encode() + b"\n")
        self._requests.flush()
        return dict(json.loads(self._answers.readline()))

    def activate(self, release: str, *gates: dict[str, Any]) -> dict[str, Any]:
        """Ask for an activation; the answer is about the first gate."""
        assert self.ask(LOCK)["ok"]
        request = {"release": release, "gates": gates, "python": sys.executable, "accelerator": "CPU", "service": {}}
        audit = {"began": "2026-11-29T12:00:00+00:00", "who": "me", "what": "deploy", "rollout": ""}
        return self.ask({"do": "activate", **request, "audit": audit, "outcome": "deployed"})

    def receive(self, content: bytes, archive: bytes) -> dict[str, Any]:
        """Send `archive` for a folder with one file of that content."""
        self.send(content, archive)
        return dict(json.loads(self._answers.readline()))

    def send(self, content: bytes, archive: bytes) -> None:
        file = {"path": "file", "sha256": hashing.sha256_bytes(content), "size_bytes": len(content)}
        request = {"do": "receive", "layout": {"place": "releases/new", "files": [file]}, "keep": "all"}
        self._requests.write(json.dumps(request).encode() + b"\n" + archive)
        self._requests.flush()

    def interrupt_once_received(self, store: Path) -> None:
        """Hang up by a signal, once the receiver has begun."""
        for _ in range(600):
            if any(store.glob("*.part")):
                break
            time.sleep(0.1)
        self._process.send_signal(signal.SIGHUP)

    def wait(self) -> int:
        return self._process.wait(60)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)

    def hang_up(self) -> None:
        """End its input, as when the connection is lost, and wait until it ends."""
        self._requests.close()
        self._process.wait(60)


@contextmanager
def session(root: Path) -> Iterator[Process]:
    argv = [sys.executable, "-I", "-S", "-B", "-c", LOADER, str(root)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        started = Process(process)
        assert process.stdin is not None
        process.stdin.write(program(CODE))
        yield started


@pytest.fixture
def root(release: Path) -> Path:
    """ROOT, with a release that is there and does not serve yet; another one serves."""
    place = release.parents[1]
    (place / "releases/old").mkdir()
    (place / "current").symlink_to("releases/old")
    return place


def test_activate_switches_once_each_gate_has_passed(root: Path, release: Path) -> None:
    with session(root) as process:
        verified = process.activate(release.name, VERIFY, HEALTHY)
        assert (verified["step"], verified["result"]["ok"]) == ("verify", True)
        assert (root / "current").readlink().name == "old"
        assert process.ask({"ok": True, "message": "whole"})["step"] == "healthy"
        assert (root / "current").readlink().name == release.name
        assert process.ask({"ok": True, "message": "well"}) == {
            "ok": True,
            "gates": {"verify": "whole", "healthy": "well"},
        }
        assert (root / "deploy.lock").exists()
        assert process.ask({"do": "end"})["ok"]
        assert not (root / "deploy.lock").exists()
        assert process.wait() == 0
    assert _last_line(root)["outcome"] == "deployed"


def test_activate_puts_back_when_the_controller_is_gone(root: Path, release: Path) -> None:
    with session(root) as process:
        process.activate(release.name, VERIFY, HEALTHY)
        process.ask({"ok": True})
        assert (root / "current").readlink().name == release.name
        process.hang_up()
    assert (root / "current").readlink().name == "old"
    assert not (root / "previous").exists()
    assert not (root / "deploy.lock").exists()
    assert "connection to the controller was lost; old serves again" in _last_line(root)["reason"]


def test_activate_believes_its_own_gate_before_the_controller(root: Path, release: Path) -> None:
    (release / "labels.txt").write_text("changed\n")
    with session(root) as process:
        assert not process.activate(release.name, VERIFY)["result"]["ok"]
        answer = process.ask({"ok": True, "message": "never mind"})
        assert (answer["ok"], answer["error"]["what"]) == (False, "verify did not pass")
    assert (root / "current").readlink().name == "old"


@pytest.mark.parametrize("gates", [(), (HEALTHY,), ({**VERIFY, "after_switch": True},)])
def test_activate_refuses_gates_without_a_verification(
    root: Path, release: Path, gates: tuple[dict[str, Any], ...]
) -> None:
    with session(root) as process:
        answer = process.activate(release.name, *gates)
        assert "unless it is verified first" in answer["error"]["what"]
    assert (root / "current").readlink().name == "old"


def test_receive_leaves_the_session_ready_for_the_next_request(root: Path) -> None:
    archive = tar_member(hashing.sha256_bytes(b"content"), b"content") + EMPTY_BLOCK + EMPTY_BLOCK
    with session(root) as process:
        assert process.ask(LOCK)["release"] == "old"
        assert process.receive(b"content", archive) == {"ok": True, "lacking": [], "damaged": []}
        assert process.receive(b"other", archive)["lacking"] == [hashing.sha256_bytes(b"other")]
        assert process.ask({"do": "end"})["ok"]
    assert (root / "releases/new/file").read_bytes() == b"content"


@pytest.mark.parametrize("archive", [b"no archive".ljust(1024), EMPTY_BLOCK + b"{}\n".ljust(512)])
def test_receive_ends_the_session_where_no_archive_ends(root: Path, archive: bytes) -> None:
    with session(root) as process:
        assert process.ask(LOCK)["ok"]
        assert not process.receive(b"content", archive)["ok"]
        assert process.wait() == 0
    assert not (root / "deploy.lock").exists()
    assert not (root / "releases/new").exists()


@pytest.mark.parametrize("archive", [b"", EMPTY_BLOCK, tar_member(hashing.sha256_bytes(b"content"), b"content")[:600]])
def test_receive_ends_the_session_when_the_controller_is_gone(root: Path, archive: bytes) -> None:
    with session(root) as process:
        assert process.ask(LOCK)["ok"]
        process.send(b"content", archive)
        process.hang_up()
    assert not (root / "deploy.lock").exists()
    assert not (root / "releases/new").exists()


def test_receive_ends_when_its_session_is_told_to(root: Path) -> None:
    """A server may send a signal and leave its end of stdin open."""
    with session(root) as process:
        assert process.ask(LOCK)["ok"]
        process.send(b"content", EMPTY_BLOCK[:100])
        process.interrupt_once_received(root / "store")
        assert process.wait() == 0
    assert not (root / "deploy.lock").exists()


def test_receive_does_not_begin_after_a_signal(root: Path) -> None:
    """One that comes between the request and its archive, which may never come."""
    reader, writer = os.pipe()
    request = {"do": "receive", "layout": {"place": "releases/new", "files": []}, "keep": "all"}
    with os.fdopen(reader, "rb") as stdin, os.fdopen(writer, "wb"), ExitStack() as held:
        session = ActivationSession(root, stdin, io.StringIO())
        session.interrupt()
        answer = session._handle(request, held)
        assert "connection to the controller was lost" in answer["error"]["what"]


def test_end_instead_of_a_verdict_ends_the_session(root: Path, release: Path) -> None:
    with session(root) as process:
        process.activate(release.name, VERIFY)
        assert not process.ask({"do": "end"})["ok"]
        assert process.wait() == 0
    assert (root / "current").readlink().name == "old"
    assert not (root / "deploy.lock").exists()


def test_receive_instead_of_a_verdict_ends_the_session(root: Path, release: Path) -> None:
    with session(root) as process:
        process.activate(release.name, VERIFY)
        assert not process.receive(b"content", EMPTY_BLOCK + EMPTY_BLOCK)["ok"]
        assert process.wait() == 0
    assert (root / "current").readlink().name == "old"
    assert not (root / "deploy.lock").exists()


def test_verification_cannot_be_left_to_the_controller(root: Path, release: Path) -> None:
    (release / "labels.txt").write_text("changed\n")
    with session(root) as process:
        assert not process.activate(release.name, {**VERIFY, "run": None})["result"]["ok"]


def test_second_session_is_told_who_holds_the_lock(root: Path) -> None:
    with session(root) as first, session(root) as second:
        assert first.ask(LOCK)["ok"]
        assert second.ask(LOCK) == {"ok": False, "taken": "me"}
        first.hang_up()
        assert second.ask(LOCK)["ok"]


def test_lock_of_a_process_that_was_killed_is_taken_over(root: Path) -> None:
    with session(root) as first:
        assert first.ask(LOCK)["ok"]
        first.kill()
    assert (root / "deploy.lock").exists()
    with session(root) as second:
        assert second.ask(LOCK)["ok"]


@pytest.mark.parametrize("request_", [{}, {"do": "format"}, {"do": "activate"}, {"do": "audit"}, {"do": ["lock"]}])
def test_session_refuses_what_is_no_request(root: Path, request_: dict[str, Any]) -> None:
    with session(root) as process:
        assert not process.ask(request_)["ok"]
        assert process.ask(LOCK)["ok"]


def _last_line(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "audit.jsonl").read_text().splitlines()[-1]))
