"""The app as a real process on real releases, and a client for it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.bundle.release import release_tree

REPOSITORY = Path(toolkit.__file__).parents[1]
TOKEN = "a-token-of-this-test-alone"


@dataclass(frozen=True)
class Response:
    """An answer of the app."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class App:
    """A running app."""

    process: subprocess.Popen[str]
    url: str
    port: int

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, host: str = "", **headers: str
    ) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if host:
            fields["Host"] = host
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        response = Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return response

    def end(self, number: int = signal.SIGTERM) -> tuple[int, dict[str, Any], str]:
        """Its exit code, its last word, its log."""
        self.process.send_signal(number)
        output, log = self.process.communicate(timeout=60)
        return self.process.returncode, json.loads(output.splitlines()[-1]), log


Serve = Callable[..., App]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(release, "--source", "none", environment={}): an app on a free port; ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def call(release: Path, *argv: object, environment: dict[str, str] | None = None) -> App:
        command = [sys.executable, "-B", "-m", "toolkit.device", "serve", release, "--port", "0", *argv]
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | (environment or {}),
        )
        running.append(process)
        response = json.loads(process.stdout.readline() or "{}")
        assert response.get("ok"), (response, process.communicate())
        return App(process, response["url"], response["port"])

    yield call
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def root(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A device's ROOT with two releases that differ by a file's name alone, and `current`, which leads to the first."""
    tree = release_tree(tiny_bundle)
    for name in ("a" * 64, "b" * 64):
        for file in tree.files:
            place = tmp_path / "root" / "releases" / name / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(file.source, bytes):
                place.write_bytes(file.source)
            else:
                shutil.copyfile(file.source, place)
    (tmp_path / "root" / "current").symlink_to("releases/" + "a" * 64)
    return tmp_path / "root"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path
