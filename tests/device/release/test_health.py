"""A real service behind a real address; systemd's part by a program of that name that says what a file holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from toolkit.device.release import health

UNIT = "toolkit-runner.service"


class Service(ThreadingHTTPServer):
    """Answers with `codes`, one after the other; the last one for good."""

    codes: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/health"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        codes = self.server.codes  # type: ignore[attr-defined]
        self.send_response(codes.pop(0) if len(codes) > 1 else codes[0])
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), Answer)
    server.codes = [200]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what `systemctl show` says."""
    output = tmp_path / "said"
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\ncat {output}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return output


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "POLL_INTERVAL_S", 0.01)


def test_watch_is_content_when_there_is_nothing_to_ask(systemd: Path) -> None:
    systemd.write_text("LoadState=not-found\nActiveState=inactive\n")
    result = health.check_health(UNIT, None, 1)
    assert (result["ok"], result["checks"]) == (True, [])
    assert "nothing to check" in result["message"]


def test_watch_waits_until_it_is_well_and_stays_so(service: Service, systemd: Path) -> None:
    systemd.write_text("LoadState=loaded\nActiveState=active\nNRestarts=0\n")
    service.codes = [503, 503, 200]
    result = health.check_health(UNIT, service.url, 0.1)
    assert result == {"ok": True, "message": "healthy for 0.1 s", "checks": ["unit", "url"]}


def test_watch_says_how_it_answers_when_it_never_gets_well(service: Service) -> None:
    service.codes = [500]
    result = health.check_health("no-such.service", service.url, 1, patience_s=0.1)
    assert (result["ok"], result["message"]) == (False, f"{service.url} answers 500")
    nobody = health.check_health("no-such.service", "http://127.0.0.1:1/health", 1, patience_s=0.05)
    assert "http://127.0.0.1:1/health does not answer" in nobody["message"]


def test_watch_says_so_when_it_does_not_stay_well(service: Service) -> None:
    service.codes = [200, 200, 503]
    result = health.check_health("no-such.service", service.url, 30)
    assert not result["ok"]
    assert "answers 503, 0 s after it was well" in result["message"]


def test_watch_gives_up_at_once_when_the_unit_has_failed(systemd: Path) -> None:
    systemd.write_text("LoadState=loaded\nActiveState=failed\nNRestarts=5\n")
    assert health.check_health(UNIT, None, 1)["message"] == f"{UNIT} is failed"


def test_watch_says_so_when_systemd_starts_it_anew(systemd: Path) -> None:
    systemd.write_text("LoadState=loaded\nActiveState=active\nNRestarts=0\n")
    later = threading.Timer(0.1, systemd.write_text, ["LoadState=loaded\nActiveState=active\nNRestarts=1\n"])
    later.start()
    assert f"{UNIT} was restarted" in health.check_health(UNIT, None, 30)["message"]
