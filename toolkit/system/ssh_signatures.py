"""SSH signatures, made and verified by OpenSSH's own ssh-keygen."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from toolkit.errors import MachineError, UsageError


def sign(document: bytes, key: Path, namespace: str) -> bytes:
    """The signature of a document by an SSH private key (or the public one of a key that ssh-agent holds).

    `namespace` names the kind of document: a signature of another kind, or made for mail or git, does not pass for it.

    Raises:
        UsageError: the key cannot be used; with ssh-keygen's words.
        MachineError: there is no ssh-keygen.
    """
    done = ssh_keygen(["sign", "-n", namespace, "-f", str(key)], document)
    if done.returncode != 0 or not done.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise UsageError(
            f"cannot sign with this key: {last_message(done)}",
            where=str(key),
            remedy="give a private SSH key, such as `ssh-keygen -t ed25519 -f KEY` makes",
        )
    return done.stdout


def ssh_keygen(argv: list[str], document: bytes) -> subprocess.CompletedProcess[bytes]:
    """`ssh-keygen -Y ARGV` on a document; it may ask a person for a passphrase or a touch of the key.

    Raises:
        MachineError: there is no ssh-keygen.
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        raise MachineError(
            "signatures need ssh-keygen, which is not installed", remedy="apt-get install openssh-client"
        )
    return subprocess.run([program, "-Y", *argv], input=document, capture_output=True, check=False)


def last_message(done: subprocess.CompletedProcess[bytes]) -> str:
    """The messages of ssh-keygen, in one line."""
    lines = (done.stderr or done.stdout).decode(errors="replace").split("\n")
    messages = [line.strip().rstrip("\r") for line in lines if line.strip()]
    return "; ".join(messages) or f"ssh-keygen ended with {done.returncode}"


def is_signed_by(document: bytes, signature: bytes, key: Path, namespace: str, folder: Path) -> bool:
    """Return whether a signature is this key's own, for exactly this document; `folder` is for a temporary file.

    Raises:
        MachineError: there is no ssh-keygen.
    """
    path = folder / "signature"
    path.write_bytes(signature)
    check = ssh_keygen(["check-novalidate", "-n", namespace, "-s", str(path)], document)
    signer = re.search(rb"SHA256:[\w+/]+", check.stdout)
    if check.returncode != 0 or signer is None:
        return False
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(key)], capture_output=True, check=False)
    own = re.search(rb"SHA256:[\w+/]+", shown.stdout)
    return own is not None and own[0] == signer[0]
