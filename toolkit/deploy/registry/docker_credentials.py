"""Logins that `docker login` stored: in docker's config.json, or in the credential helpers that it names.

See "Credential stores" of docker's documentation of `docker login`. A helper is a program docker-credential-NAME that is
asked with the registry on stdin and prints JSON.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigurationError

TIMEOUT_S = 30.0


def docker_login(host: str) -> str:
    """Return NAME:PASSWORD of a registry, HOST[:PORT]; empty if docker knows no login for it.

    Raises:
        ConfigurationError: docker's file cannot be read, the helper that it names fails, or the login is a token.
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot be read: {error}", where=str(path)) from None
    if not isinstance(config, dict):
        raise ConfigurationError("is not an object", where=str(path))
    helper = _table(config, "credHelpers").get(host) or config.get("credsStore")
    if helper:
        return _ask_helper(str(helper), host)
    for name, entry in _table(config, "auths").items():
        if _host_of(name) == host:
            return _stored_login(entry, host, path)
    return ""


def _table(config: dict[str, Any], name: str) -> dict[str, Any]:
    table = config.get(name)
    return table if isinstance(table, dict) else {}


def _host_of(name: str) -> str:
    """Return the host of a key of `auths`, which may be a URL."""
    return name.partition("://")[2].partition("/")[0] if "://" in name else name.partition("/")[0]


def _stored_login(entry: Any, server: str, path: Path) -> str:
    auth = entry.get("auth") if isinstance(entry, dict) else None
    if not auth:
        return ""
    try:
        login = base64.b64decode(auth, validate=True).decode().rstrip("\0")
    except (TypeError, ValueError):
        login = ""
    if ":" not in login:
        raise ConfigurationError(f"the login of {server} is damaged", where=str(path), remedy=f"docker login {server}")
    return login


def _ask_helper(helper: str, server: str) -> str:
    program, remedy = f"docker-credential-{helper}", f"docker login {server}, or use --credentials FILE"
    try:
        done = subprocess.run(
            [program, "get"], input=server, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"cannot be asked for a login: {error}", where=program, remedy=remedy) from None
    if done.returncode:
        why = (done.stdout or done.stderr).strip()
        if "credentials not found" in why:  # the protocol's own words for it
            return ""
        raise ConfigurationError(f"cannot be asked for a login: {why}", where=program, remedy=remedy)
    try:
        answer = json.loads(done.stdout)
        name, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError("answers with something else than a login", where=program, remedy=remedy) from None
    if name == "<token>":
        raise ConfigurationError(f"has an identity token for {server}, no password", where=program, remedy=remedy)
    return f"{name}:{secret}"
