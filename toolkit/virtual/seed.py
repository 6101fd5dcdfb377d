"""What makes one device of many alike: its name, its keys, its machine id. Written at its first start, before systemd runs.

The kernel takes it as an archive after its initial RAM disk's own, so nobody has to write into a file system here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.virtual import cpio

USER = "pi"
OWNER = 1000
CABLE = Path(__file__).with_name("usbip_client.py")

_CABLE_UNIT = """\
[Unit]
Description=The cable of a virtual stick
ConditionKernelCommandLine=stick

[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/cable.py
Restart=always

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Seed:
    """One device's own. Keys are texts: a private one as OpenSSH writes it, public ones a line each."""

    name: str
    host_key: str
    host_key_public: str
    authorized_keys: tuple[str, ...]
    more: tuple[cpio.Entry, ...] = ()
    """Further files, by names below "seed"; what is in `seed/seed.sh` is run in the root at the first start, by sh."""

    def archive(self) -> bytes:
        """What is put after the initial RAM disk."""
        return cpio.archive(self._entries())

    def _entries(self) -> Iterator[cpio.Entry]:
        for name in ("", "/etc", "/etc/ssh", "/etc/systemd", "/etc/systemd/system", "/home", "/usr", "/usr/local"):
            yield cpio.folder(f"seed{name}")
        yield cpio.file("seed/etc/hostname", f"{self.name}\n")
        yield cpio.file("seed/etc/hosts", f"127.0.0.1 localhost {self.name}\n::1 localhost\n")
        yield cpio.file("seed/etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
        yield cpio.file("seed/etc/ssh/ssh_host_ed25519_key", self.host_key, 0o600)
        yield cpio.file("seed/etc/ssh/ssh_host_ed25519_key.pub", self.host_key_public)
        yield cpio.folder(f"seed/home/{USER}", 0o700, OWNER)
        yield cpio.folder(f"seed/home/{USER}/.ssh", 0o700, OWNER)
        keys = "".join(f"{key}\n" for key in self.authorized_keys)
        yield cpio.file(f"seed/home/{USER}/.ssh/authorized_keys", keys, 0o600, OWNER)
        yield from _cable()
        yield from self.more


def _cable() -> Iterator[cpio.Entry]:
    """What plugs a virtual stick in where the kernel was told of one."""
    yield cpio.folder("seed/usr/local/lib")
    yield cpio.file("seed/usr/local/lib/cable.py", CABLE.read_bytes())
    yield cpio.file("seed/etc/systemd/system/cable.service", _CABLE_UNIT)
    wants = "seed/etc/systemd/system/multi-user.target.wants"
    yield cpio.folder(wants)
    yield cpio.link(f"{wants}/cable.service", "../cable.service")
