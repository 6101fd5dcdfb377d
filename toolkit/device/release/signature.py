"""Verify SSH signatures of documents against the signers that this device trusts.

    ROOT/allowed_signers   allowed signers, one per line: a name, then the public key (ssh-keygen(1), ALLOWED SIGNERS)
    ROOT/revoked_signers   revoked keys: public keys, one per line, or a KRL (KEY REVOCATION LISTS)

Without allowed_signers no signature is required, and the result says so. Each kind of document has its own namespace,
so a signature of one is not valid for another; a line of allowed_signers may limit its key by `namespaces=`. Uses
ssh-keygen of OpenSSH, version 8.7 or later if a line has valid-before.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from ..errors import DeviceEnvironmentError, DeviceError
from ..layout import MANIFEST, MANIFEST_SIGNATURE
from .manifest import read_regular, root_of

if TYPE_CHECKING:
    import subprocess

BUNDLE, RELEASE = "bundle@edge-vision-toolkit", "release@edge-vision-toolkit"
CHANNEL, DOWNGRADE = "channel@edge-vision-toolkit", "downgrade@edge-vision-toolkit"
"""Signature namespaces of a bundle's manifest.json, of release.json, and of the documents in `freshness`."""
ALLOWED, REVOKED = "allowed_signers", "revoked_signers"
MAX_SIGNATURE_BYTES = 64 << 10
MAX_SIGNATURES = 16

_KEY = re.compile(r"with (\S+ key SHA256:\S+)")
_ARMOR = re.compile(rb"-----BEGIN SSH SIGNATURE-----.+?-----END SSH SIGNATURE-----\r?\n?", re.DOTALL)
_TIMEOUT_S = 30


def allowed_signers(release: Path) -> Optional[Path]:
    """Return the file of trusted signers; None if this device requires no signature."""
    path = root_of(release) / ALLOWED
    return path if os.path.lexists(path) else None


def check_signature(release: Path) -> Dict[str, Any]:
    """Return {"checked", "signer", "key", "message"}: the signer of the manifest, or that none is required.

    Raises:
        DeviceError: a signature is required, and none by an allowed signer matches the manifest.
        DeviceEnvironmentError: ssh-keygen is not installed.
    """
    allowed, signature = allowed_signers(release), release / MANIFEST_SIGNATURE
    if allowed is None:
        state = "signed" if os.path.lexists(signature) else "not signed"
        return _result(f"{state}, and not checked: this device has no {root_of(release) / ALLOWED}")
    if not os.path.lexists(signature):
        raise _error(signature, f"the bundle is not signed, and {allowed} requires it")
    manifest = read_regular(release / MANIFEST)
    return check_signed(manifest, read_regular(signature, MAX_SIGNATURE_BYTES), allowed, BUNDLE, str(signature))


def check_signed(document: bytes, signature: bytes, allowed: Path, namespace: str, where: str) -> Dict[str, Any]:
    """Check one signature of any document; return the same fields as `check_signature`.

    Raises:
        DeviceError: the signature is not by an allowed signer for these bytes in this namespace.
        DeviceEnvironmentError: ssh-keygen is not installed.
    """
    import tempfile  # slow to import, and most devices require no signature

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "signature")
        file.write_bytes(signature)
        key = _signing_key(document, file, namespace, where)
        reasons = []
        for name in _principals(document, file, allowed):
            reason = _rejection_reason(document, file, allowed, name, namespace)
            if reason is None:
                return _result(f"signed by {name} with {key}", checked=True, signer=name, key=key)
            reasons.append(f"{name} may not sign this: {reason}")
    raise _error(Path(where), "; ".join(reasons) or f"signed with {key}, which {allowed} does not name")


def split_signatures(content: bytes) -> List[bytes]:
    """Return the single signatures of a file with several."""
    return _ARMOR.findall(content)[:MAX_SIGNATURES]


def _result(
    message: str, *, checked: bool = False, signer: Optional[str] = None, key: Optional[str] = None
) -> Dict[str, Any]:
    return {"checked": checked, "signer": signer, "key": key, "message": message}


def _signing_key(document: bytes, signature: Path, namespace: str, where: str) -> str:
    """Return the key that made the signature, allowed or not."""
    done = _ssh_keygen(document, ["check-novalidate", "-n", namespace, "-s", str(signature)])
    match = _KEY.search(done.stdout)
    if done.returncode != 0 or not match:
        name = Path(where).name.partition(".")[0]
        raise _error(Path(where), f"the signature is not of this {name}: one of them was changed ({_output(done)})")
    return match.group(1)


def _rejection_reason(document: bytes, signature: Path, allowed: Path, name: str, namespace: str) -> Optional[str]:
    """Return why a signature of `name` is not accepted, or None; ssh-keygen gives no reason for revoked keys."""
    argv = ["verify", "-n", namespace, "-f", str(allowed), "-I", name, "-s", str(signature)]
    done = _ssh_keygen(document, argv)
    revoked = allowed.with_name(REVOKED)
    if done.returncode == 0 and os.path.lexists(revoked):
        done = _ssh_keygen(document, [*argv, "-r", str(revoked)])
        return None if done.returncode == 0 else f"{revoked} names the key, or cannot be read ({_output(done)})"
    return None if done.returncode == 0 else _output(done)


def _principals(document: bytes, signature: Path, allowed: Path) -> List[str]:
    """Return the name of the key, from the first line that is valid now."""
    done = _ssh_keygen(document, ["find-principals", "-f", str(allowed), "-s", str(signature)])
    return done.stdout.splitlines() if done.returncode == 0 else []


def _error(signature: Path, what: str) -> DeviceError:
    remedy = (
        "sign the bundle with a key that this device trusts (`toolkit convert MODEL --sign KEY`) and deploy it again"
    )
    return DeviceError(what, where=str(signature), remedy=remedy)


def _ssh_keygen(document: bytes, argv: List[str]) -> subprocess.CompletedProcess[str]:
    """Run `ssh-keygen -Y ARGV` on the document.

    Raises:
        DeviceEnvironmentError: ssh-keygen is not installed, or does not end.
    """
    import shutil  # slow to import, and most devices require no signature
    import subprocess

    program = shutil.which("ssh-keygen")
    if program is None:
        raise DeviceEnvironmentError(
            "a signature is required, and ssh-keygen is not installed", remedy="install openssh-client"
        )
    try:
        done = subprocess.run(
            [program, "-Y", *argv], input=document, capture_output=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise DeviceEnvironmentError(f"ssh-keygen did not answer within {_TIMEOUT_S} s") from None
    output, errors = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, output, errors)


def _output(done: subprocess.CompletedProcess[str]) -> str:
    """Return the output of ssh-keygen in one line."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "; ".join(lines) or f"ssh-keygen ended with {done.returncode}"
