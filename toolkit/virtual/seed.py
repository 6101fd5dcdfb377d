"""First-boot files of one device: name, keys and machine id. Copied into the root filesystem before systemd starts.

The kernel unpacks them from an archive behind the initial RAM disk, so no filesystem has to be written here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.virtual import cpio

USER = "pi"
OWNER = 1000
USBIP_CLIENT = Path(__file__).with_name("usbip_client.py")

_USBIP_UNIT = """\
[Unit]
Description=USB/IP client of the virtual Neural Compute Stick 2
ConditionKernelCommandLine=stick

[Service]
ExecStart=/usr/bin/python3 /usr/local/lib/usbip_client.py
Restart=always

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class Seed:
    """First-boot settings of one device. Keys are texts: a private one as OpenSSH writes it, public ones a line each."""

    name: str
    host_key: str
    host_key_public: str
    authorized_keys: tuple[str, ...]
    more: tuple[cpio.ArchiveMember, ...] = ()
    """Additional files below "seed"; sh runs `seed/seed.sh` in the root at the first boot."""

    def archive(self) -> bytes:
        """Return the archive to append to the initial RAM disk."""
        return cpio.archive(self._entries())

    def _entries(self) -> Iterator[cpio.ArchiveMember]:
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
        yield from _usbip_client()
        yield from self.more


def _usbip_client() -> Iterator[cpio.ArchiveMember]:
    """Service that attaches the virtual stick if the kernel command line says "stick"."""
    yield cpio.folder("seed/usr/local/lib")
    yield cpio.file("seed/usr/local/lib/usbip_client.py", USBIP_CLIENT.read_bytes())
    yield cpio.file("seed/etc/systemd/system/usbip-client.service", _USBIP_UNIT)
    wants = "seed/etc/systemd/system/multi-user.target.wants"
    yield cpio.folder(wants)
    yield cpio.link(f"{wants}/usbip-client.service", "../usbip-client.service")
