"""SSH key pairs for local and virtual fleets."""

from __future__ import annotations

from pathlib import Path

from toolkit.files import atomic_write


def make_key(path: Path) -> None:
    """An Ed25519 key pair, unless it is there: readable by its owner alone."""
    import asyncssh

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = asyncssh.generate_private_key("ssh-ed25519", comment=path.name)
    with atomic_write(path.with_name(path.name + ".pub")) as stream:
        stream.write(key.export_public_key())
    part = path.with_name(f".{path.name}.part")
    part.touch(mode=0o600)
    part.write_bytes(key.export_private_key())
    part.replace(path)


def public_key(key: Path) -> str:
    """The public half of the pair at `key`: its kind and its digits."""
    kind, digits, *_ = key.with_name(key.name + ".pub").read_text().split()
    return f"{kind} {digits}"
