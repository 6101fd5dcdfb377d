"""Signatures of bundles, made and verified by OpenSSH's own ssh-keygen.

What is signed is manifest.json: it names every other file by its SHA-256, so the signature covers them all. The signature
is beside it in manifest.json.sig. It is not part of the bundle, whose digest and bytes do not depend on it.

    sign_bundle(folder, Path("~/.ssh/id_ed25519").expanduser())
    verify_signature(folder, Path("allowed_signers")).principal     # "ci@example.org"

An allowed_signers file has one line for each who may sign: a name, then the public key (ssh-keygen(1), ALLOWED SIGNERS).
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from toolkit import files
from toolkit.device.layout import MANIFEST, MANIFEST_SIGNATURE
from toolkit.device.release.signature import BUNDLE
from toolkit.errors import BundleError, UsageError
from toolkit.system.ssh_signatures import last_message, sign, ssh_keygen

_KEY = re.compile(r"with (\S+ key SHA256:\S+)")
_SIGN_AGAIN = "if you trust its bytes, sign it again: `toolkit convert MODEL --sign KEY`"


@dataclass(frozen=True, slots=True)
class Signer:
    """The signer: the name from allowed_signers, and the key as ssh-keygen shows it ("ED25519 key SHA256:…")."""

    principal: str
    key: str


def sign_bundle(folder: Path, key: Path) -> Path:
    """Sign the bundle in `folder` with an SSH private key (or the public one of a key that ssh-agent holds).

    Raises:
        UsageError: the key cannot be used; with ssh-keygen's message.
        MachineError: there is no ssh-keygen.
    """
    signature = sign((folder / MANIFEST).read_bytes(), key, BUNDLE)
    with files.atomic_write(folder / MANIFEST_SIGNATURE) as stream:
        stream.write(signature)
    return folder / MANIFEST_SIGNATURE


def verify_signature(folder: Path, allowed_signers: Path) -> Signer:
    """Verify that the manifest in `folder` is signed by a signer in `allowed_signers`; the other files are not read.

    Raises:
        BundleError: it is not signed, was changed since, or the signer is not allowed.
        UsageError: there is no such allowed_signers file.
        MachineError: there is no ssh-keygen.
    """
    signature = folder / MANIFEST_SIGNATURE
    if not allowed_signers.is_file():
        raise UsageError("is not a file", where=str(allowed_signers), remedy="one line per signer: NAME KEYTYPE KEY")
    if not signature.is_file():
        raise BundleError("the bundle is not signed", where=str(signature), remedy=_SIGN_AGAIN)
    key = _signing_key(folder, signature)
    names = _judged(["find-principals", "-f", str(allowed_signers), "-s", str(signature)], folder)
    principals = names.stdout.decode(errors="replace").splitlines()
    if names.returncode != 0 or not principals:
        raise _not_allowed(f"signed with {key}, which is not an allowed signer's", signature, allowed_signers)
    result = ["verify", "-n", BUNDLE, "-f", str(allowed_signers), "-I", principals[0], "-s", str(signature)]
    done = _judged(result, folder)
    if done.returncode != 0:
        raise _not_allowed(f"{principals[0]} may not sign this: {last_message(done)}", signature, allowed_signers)
    return Signer(principals[0], key)


def _signing_key(folder: Path, signature: Path) -> str:
    """Return the key that signed these bytes, trusted or not."""
    done = _judged(["check-novalidate", "-n", BUNDLE, "-s", str(signature)], folder)
    result = _KEY.search(done.stdout.decode(errors="replace"))
    if done.returncode != 0 or not result:
        raise BundleError(
            f"the signature does not match this manifest: one of the two was changed ({last_message(done)})",
            where=str(signature),
            remedy="copy the bundle from its source again; " + _SIGN_AGAIN,
        )
    return result.group(1)


def _not_allowed(what: str, signature: Path, allowed_signers: Path) -> BundleError:
    remedy = f"if you trust that key, add its line to {allowed_signers}; else do not use this bundle"
    return BundleError(what, where=str(signature), remedy=remedy)


def _judged(argv: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run `ssh-keygen -Y ARGS` on the manifest in `folder`."""
    return ssh_keygen(argv, (folder / MANIFEST).read_bytes())
