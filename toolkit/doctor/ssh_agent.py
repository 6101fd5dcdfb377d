"""The agent that holds the user's SSH keys, for devices whose inventory names none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from toolkit.doctor.finding import Check, Finding, Place, care, good

NAMES = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


def look(place: Place) -> Iterator[Finding]:
    """Keys are counted and never shown."""
    del place
    files = [name for name in NAMES if (Path.home() / ".ssh" / name).is_file()]
    if not os.environ.get("SSH_AUTH_SOCK"):
        if files:
            yield good(f"no SSH agent, but {', '.join(files)} in ~/.ssh")
        else:
            remedy = 'eval "$(ssh-agent)"; ssh-add; or name a key in the inventory by ansible_ssh_private_key_file'
            yield care("no SSH agent and no key in ~/.ssh: devices whose inventory names no key refuse", remedy)
        return
    import paramiko

    keys = paramiko.Agent().get_keys()
    yield good(f"an SSH agent with {len(keys)} keys") if keys else care("the SSH agent holds no key", "ssh-add")


CHECK = Check("ssh-agent", "devices without a key of their own", look)
