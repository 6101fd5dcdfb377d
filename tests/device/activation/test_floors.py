from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from toolkit.device import layout
from toolkit.device.activation import floors
from toolkit.device.errors import DeviceError
from toolkit.device.release import freshness
from toolkit.device.release.signature import CHANNEL, RELEASE
from toolkit.system.ssh_signatures import sign

CONTENT = b'{"bundle": "b"}'
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def documents(tmp_path: Path) -> dict[str, bytes]:
    """A statement that a signer of ROOT has signed; ROOT is tmp_path."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "allowed_signers").write_text(f"ann {key.with_suffix('.pub').read_text()}")
    subject = {"format": 1, "channel": "stable", "counter": 7, "release": DIGEST}
    content = json.dumps({**subject, "created": time.time(), "expires": time.time() + 86400}).encode()
    release = {layout.RELEASE: CONTENT, layout.RELEASE_SIGNATURE: sign(CONTENT, key, RELEASE)}
    return {freshness.STATEMENT: content, freshness.STATEMENT_SIGNATURE: sign(content, key, CHANNEL), **release}


def test_floor_is_raised_by_the_program_that_root_owns(
    documents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The agent passes the documents; what checks them has its own signers, and holds the floor outside of ROOT."""
    asked: list[str] = []

    def ask(argv: list[str], request: str) -> str:
        asked.extend(argv)
        floors.main(tmp_path, io.BytesIO(request.encode()), tmp_path / "state")
        return str(json.loads(capsys.readouterr().out)["message"])

    monkeypatch.setattr(floors, "agent_folder", lambda: Path("/usr/lib/toolkit-agent"))
    monkeypatch.setattr(floors, "ask_root", ask)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "stable 7, stated by ann" in floors.check_floor(tmp_path, documents, DIGEST, "stable", "registry")
    assert asked == ["sudo", "-n", "/usr/lib/toolkit-agent/toolkit-floor"]
    assert freshness.floor_of(tmp_path / "state", "stable") == 7
    assert not (tmp_path / freshness.FLOORS).exists()


def test_floor_without_an_agent_lies_in_root(documents: dict[str, bytes], tmp_path: Path) -> None:
    floors.check_floor(tmp_path, documents, DIGEST, "stable", "registry")
    assert freshness.floor_of(tmp_path, "stable") == 7


@pytest.mark.parametrize("script", ["exit 1", "echo none", "echo '[1]'", "echo '{'"])
def test_release_is_refused_when_its_floor_cannot_be_checked(script: str) -> None:
    with pytest.raises(DeviceError, match="could not be checked"):
        floors.ask_root(["/bin/sh", "-c", script], "{}")


def test_refusal_names_why_the_check_could_not_run() -> None:
    with pytest.raises(DeviceError, match="could not be checked: sudo: a password is required"):
        floors.ask_root(["/bin/sh", "-c", "echo sudo: a password is required >&2; exit 1"], "{}")


def test_refusal_of_the_program_is_the_error_of_the_release() -> None:
    error = {"what": "expired", "where": "registry", "remedy": "publish"}
    with pytest.raises(DeviceError, match="registry: expired"):
        floors.ask_root(["echo", json.dumps({"error": error})], "{}")
