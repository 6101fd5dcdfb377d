from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from toolkit.deploy.registry.docker_credentials import docker_login
from toolkit.errors import ConfigurationError

HOST = "registry.test:5000"
HELPER = """#!/bin/sh
read -r server
case "$1 $server" in
    "get registry.test:5000") echo '{"ServerURL": "x", "Username": "ann", "Secret": "from: helper"}' ;;
    "get token.test") echo '{"Username": "<token>", "Secret": "x"}' ;;
    "get odd.test") echo '[]' ;;
    "get locked.test") echo 'the keyring is locked'; exit 1 ;;
    *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program = tmp_path / "docker-credential-safe"
    program.write_text(HELPER)
    program.chmod(0o755)
    return tmp_path


def stored(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v2/", f"{HOST}/v2"])
def test_a_stored_login_is_obeyed(key: str, folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"auths": {"other.test": stored("x:y"), key: stored("ann:a:b")}}))
    assert docker_login(HOST) == "ann:a:b"
    assert docker_login("other.test:5000") == ""


@pytest.mark.parametrize("config", [{"credsStore": "safe"}, {"credHelpers": {HOST: "safe"}, "credsStore": "missing"}])
def test_a_helper_is_asked_for_its_registry(config: dict[str, object], folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**config, "auths": {HOST: {}}}))
    assert docker_login(HOST) == "ann:from: helper"


def test_no_login_is_no_error(folder: Path) -> None:
    assert docker_login(HOST) == ""
    for config in ({}, {"auths": {HOST: {}}}, {"auths": 3}, {"credsStore": "safe"}):
        (folder / "config.json").write_text(json.dumps(config))
        assert docker_login("unknown.test") == ""


@pytest.mark.parametrize(
    ("host", "config", "what"),
    [
        (HOST, "{", "cannot be read"),
        (HOST, "[]", "is not an object"),
        (HOST, {"auths": {HOST: {"auth": "?"}}}, "is damaged"),
        (HOST, {"auths": {HOST: stored("no colon")}}, "is damaged"),
        (HOST, {"credsStore": "missing"}, "cannot be asked for a login"),
        ("locked.test", {"credsStore": "safe"}, "the keyring is locked"),
        ("odd.test", {"credsStore": "safe"}, "something else than a login"),
        ("token.test", {"credsStore": "safe"}, "an identity token"),
    ],
)
def test_what_cannot_be_used_is_named(host: str, config: object, what: str, folder: Path) -> None:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ConfigurationError, match=what):
        docker_login(host)
