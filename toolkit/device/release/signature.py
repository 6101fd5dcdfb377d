"""Is a release signed by somebody whom this device trusts?

    ROOT/allowed_signers   whom it trusts, one line each: a name, then the public key (ssh-keygen(1), ALLOWED SIGNERS)
    ROOT/revoked_signers   keys it trusts no more: public keys, one a line, or a KRL (ssh-keygen(1), KEY REVOCATION LISTS)

Where there is no allowed_signers nothing is asked for, and that is said. What is signed is manifest.json, which names every
other file of the bundle by its SHA-256. OpenSSH's own ssh-keygen judges; of 8.7 or later where a line says valid-before.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from ..errors import DeviceEnvironmentError, DeviceError
from .manifest import root_of

if TYPE_CHECKING:
    import subprocess

NAMESPACE = "edge-vision-toolkit"
"""What a signature is for; `toolkit convert --sign` gives the same."""
SIGNATURE = "manifest.json.sig"
ALLOWED, REVOKED = "allowed_signers", "revoked_signers"

_KEY = re.compile(r"with (\S+ key SHA256:\S+)")
_TIMEOUT_S = 30


def allowed_signers(release: Path) -> Optional[Path]:
    """The file of those whom this device trusts, or None if it asks for no signature."""
    path = root_of(release) / ALLOWED
    return path if os.path.lexists(path) else None


def check_signature(release: Path) -> Dict[str, Any]:
    """{"checked", "by", "key", "message"}: who signed the manifest, or that nobody's signature was asked for.

    Raises:
        DeviceError: a signature is asked for, and there is none, or none of an allowed signer for these very bytes.
        DeviceEnvironmentError: there is no ssh-keygen.
    """
    allowed, signature = allowed_signers(release), release / SIGNATURE
    if allowed is None:
        there = "signed" if signature.is_file() else "not signed"
        return _result(f"{there}, and not checked: this device has no {root_of(release) / ALLOWED}")
    if not signature.is_file():
        raise _error(signature, f"the bundle is not signed, and {allowed} asks for it")
    return check_signed(release / "manifest.json", signature, allowed)


def check_signed(document: Path, signature: Path, allowed: Path) -> Dict[str, Any]:
    """The same for any document and the file of its signature.

    Raises:
        DeviceError: it is none of an allowed signer for these very bytes.
        DeviceEnvironmentError: there is no ssh-keygen.
    """
    key = _signing_key(document, signature)
    reasons = []
    for name in _principals(document, signature, allowed):
        reason = _rejection_reason(document, signature, allowed, name)
        if reason is None:
            return _result(f"signed by {name} with {key}", checked=True, by=name, key=key)
        reasons.append(f"{name} may not sign this: {reason}")
    raise _error(signature, "; ".join(reasons) or f"signed with {key}, which is no key of {allowed} now")


def _result(
    message: str, *, checked: bool = False, by: Optional[str] = None, key: Optional[str] = None
) -> Dict[str, Any]:
    return {"checked": checked, "by": by, "key": key, "message": message}


def _signing_key(document: Path, signature: Path) -> str:
    """The key that signed these very bytes, whoever's it is."""
    done = _ssh_keygen(document, ["check-novalidate", "-s", str(signature)])
    found = _KEY.search(done.stdout)
    if done.returncode != 0 or not found:
        raise _error(
            signature,
            f"the signature is not of this {_document_name(document)}: one of them was changed ({_output(done)})",
        )
    return found.group(1)


def _rejection_reason(document: Path, signature: Path, allowed: Path, name: str) -> Optional[str]:
    """Why `name` may not have signed this, None if he may; ssh-keygen does not log when it is for a revoked key."""
    words = ["verify", "-f", str(allowed), "-I", name, "-s", str(signature)]
    done = _ssh_keygen(document, words)
    revoked = allowed.with_name(REVOKED)
    if done.returncode == 0 and os.path.lexists(revoked):
        done = _ssh_keygen(document, [*words, "-r", str(revoked)])
        return None if done.returncode == 0 else f"{revoked} names the key, or cannot be used ({_output(done)})"
    return None if done.returncode == 0 else _output(done)


def _principals(document: Path, signature: Path, allowed: Path) -> List[str]:
    """Who has that key, by the first line that names it and is valid now."""
    done = _ssh_keygen(document, ["find-principals", "-f", str(allowed), "-s", str(signature)])
    return done.stdout.splitlines() if done.returncode == 0 else []


def _error(signature: Path, what: str) -> DeviceError:
    remedy = (
        "sign the bundle with a key that this device trusts (`toolkit convert MODEL --sign KEY`) and deploy it again"
    )
    return DeviceError(what, where=str(signature), remedy=remedy)


def _document_name(document: Path) -> str:
    return document.name.partition(".")[0]


def _ssh_keygen(document: Path, words: List[str]) -> subprocess.CompletedProcess[str]:
    """`ssh-keygen -Y WORDS` on the document.

    Raises:
        DeviceEnvironmentError: it is not installed, or hangs.
    """
    import shutil  # here, as most devices ask for no signature, and these are what takes long to import
    import subprocess

    program = shutil.which("ssh-keygen")
    if program is None:
        raise DeviceEnvironmentError(
            "a signature is asked for, and there is no ssh-keygen", remedy="install openssh-client"
        )
    action, *rest = words
    namespace = [] if action == "find-principals" else ["-n", NAMESPACE]
    try:
        with document.open("rb") as stream:
            return subprocess.run(
                [program, "-Y", action, *namespace, *rest],
                stdin=stream,
                capture_output=True,
                check=False,
                encoding="utf-8",
                errors="replace",
                timeout=_TIMEOUT_S,
            )
    except OSError as error:
        raise DeviceError(f"cannot be read: {error.strerror}", where=str(document)) from None
    except subprocess.TimeoutExpired:
        raise DeviceEnvironmentError(f"ssh-keygen did not answer within {_TIMEOUT_S} s") from None


def _output(done: subprocess.CompletedProcess[str]) -> str:
    """What ssh-keygen said, in one line."""
    said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "; ".join(said) or f"ssh-keygen ended with {done.returncode}"
