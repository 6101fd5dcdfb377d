"""Floors of channels that the deploying account cannot lower: owned by root, outside ROOT, if Ansible has installed the agent.

The agent runs as that account. For every check, it calls `toolkit-floor`, which Ansible allows it to run as root. That program
reads the statement on stdin, verifies it against root's own signers, and raises the floor. It takes no arguments.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import IO, Dict

from ..errors import DeviceError
from ..layout import RELEASE
from ..release import freshness
from ..release.manifest import MAX_DOCUMENT_BYTES
from .release_code import agent_folder

FOLDER = Path("/var/lib/toolkit-agent")
PROGRAM = "toolkit-floor"
MAX_REQUEST_BYTES = 2 * (MAX_DOCUMENT_BYTES + (1 << 20))
MAX_CAUSE = 300
TIMEOUT_S = 120
_DOCUMENTS = (RELEASE, freshness.STATEMENT, freshness.PERMIT)


def check_floor(root: Path, documents: Dict[str, bytes], release: str, channel: str, where: str) -> str:
    """Check the statement of a channel and raise its floor, wherever this device holds floors; return a message.

    Raises:
        DeviceError: see `freshness.check_freshness`; or the agent may not ask for the check.
    """
    agent = agent_folder()
    if agent is None or os.geteuid() == 0:
        return freshness.check_freshness(root, documents, release, channel, where, FOLDER if agent else None)
    names = [name for each in _DOCUMENTS for name in (each, f"{each}.sig") if name in documents]
    encoded = {name: base64.b64encode(documents[name]).decode() for name in names}
    request = json.dumps({"documents": encoded, "release": release, "channel": channel, "where": where})
    return ask_root(["sudo", "-n", str(agent / PROGRAM)], request)


def ask_root(argv: "list[str]", request: str) -> str:
    """Run the program that checks as root; return its message.

    Raises:
        DeviceError: the statement did not pass, or the program could not be run.
    """
    cause = ""
    try:
        done = subprocess.run(argv, input=request, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        cause = " ".join(done.stderr.split()) or f"exit code {done.returncode} without an answer"
        answer = json.loads(done.stdout)
        error = answer.get("error")
    except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired) as failure:
        what = f"the floors could not be checked: {(cause or str(failure))[:MAX_CAUSE]}"
        remedy = "run ansible/provision-pi.yml --tags runner, which lets the account run it by sudo"
        raise DeviceError(what, where=argv[-1], remedy=remedy) from None
    if error is not None:
        raise DeviceError(str(error["what"]), where=str(error["where"]), remedy=str(error["remedy"]))
    return str(answer["message"])


def main(root: Path, stdin: IO[bytes], folder: Path = FOLDER) -> int:
    """Serve one request as root: check by the signers of ROOT, raise the floor, print the message or the error."""
    try:
        request = json.loads(stdin.read(MAX_REQUEST_BYTES))
        documents = {name: base64.b64decode(request["documents"][name]) for name in request["documents"]}
        release, channel, where = (str(request[name]) for name in ("release", "channel", "where"))
    except (ValueError, KeyError, TypeError, RecursionError):
        print(json.dumps({"error": DeviceError("the request is not valid", where=PROGRAM).to_json()}))
        return 1
    try:
        print(json.dumps({"message": freshness.check_freshness(root, documents, release, channel, where, folder)}))
    except DeviceError as failure:
        print(json.dumps({"error": failure.to_json()}))
        return 1
    return 0
