"""The SSH agent and keys, for devices whose inventory names no key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, good, warning

NAMES = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


def check(place: Place) -> Iterator[Finding]:
    """Check for an agent or key files; counts keys and never shows them."""
    del place
    files = [name for name in NAMES if (Path.home() / ".ssh" / name).is_file()]
    if not os.environ.get("SSH_AUTH_SOCK"):
        if files:
            yield good(f"no SSH agent, but {', '.join(files)} in ~/.ssh")
        else:
            remedy = 'eval "$(ssh-agent)"; ssh-add; or set ansible_ssh_private_key_file in the inventory'
            yield warning(
                "no SSH agent and no key in ~/.ssh, so devices without a key in the inventory refuse the login", remedy
            )
        return
    import paramiko

    keys = paramiko.Agent().get_keys()
    yield good(f"an SSH agent with {len(keys)} keys") if keys else warning("the SSH agent has no keys", "ssh-add")


CHECK = Check("ssh-agent", "devices without a key in the inventory", check)
