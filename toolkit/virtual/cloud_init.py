"""cloud-init files that preset an official Raspberry Pi OS image: user-data, network-config and meta-data (NoCloud)."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass

from toolkit.errors import UsageError

_FORBIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

GROUPS = "users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,render,sudo"
"""Groups of the first user of Raspberry Pi OS."""


@dataclass(frozen=True, slots=True)
class Login:
    """The account and keys of a device. Keys are texts: a private one as OpenSSH writes it, public ones a line each."""

    user: str
    authorized_keys: tuple[str, ...]
    host_key: str
    host_key_public: str


@dataclass(frozen=True, slots=True)
class CardNetwork:
    """Network settings: DHCP on Ethernet unless Wi-Fi or a static address is given."""

    ssid: str = ""
    password: str = ""
    country: str = ""
    address: str = ""
    """Static address with prefix length, for example "192.0.2.14/24"."""
    gateway: str = ""
    dns: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UsageError if the settings contradict each other or are malformed."""
        if self.ssid and not 8 <= len(self.password) <= 63:
            raise UsageError("a Wi-Fi password has 8 to 63 characters", remedy="check --wifi-password-file")
        if self.ssid and not (len(self.country) == 2 and self.country.isascii() and self.country.isupper()):
            raise UsageError(f"{self.country!r} is not a country code", remedy="set --wifi-country, for example PT")
        if bool(self.address) != bool(self.gateway):
            raise UsageError("a static address needs its gateway", remedy="give both --address and --gateway")
        try:
            for value in filter(None, (self.gateway, *self.dns)):
                ipaddress.ip_address(value)
            if self.address:
                ipaddress.ip_interface(self.address)
        except ValueError as error:
            raise UsageError(f"{error}", remedy="write addresses as 192.0.2.14, --address as 192.0.2.14/24") from None
        if self.address and "/" not in self.address:
            raise UsageError("--address has no prefix length", remedy=f"for example {self.address}/24")


def user_data(name: str, login: Login) -> str:
    """Return user-data: host name, account, keys and pinned host key.

    The image's own unit would replace the host key, so it is masked first. The private key lies on the FAT partition until
    the first boot has applied it: the last command empties the file.
    """
    settings = {
        "hostname": name,
        "manage_etc_hosts": True,
        "bootcmd": [["systemctl", "mask", "--now", "regenerate_ssh_host_keys.service"]],
        "ssh_deletekeys": False,
        "ssh_keys": {"ed25519_private": login.host_key, "ed25519_public": login.host_key_public.strip()},
        "ssh_pwauth": False,
        "disable_root": True,
        "users": [
            {
                "name": login.user,
                "groups": GROUPS,
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": list(login.authorized_keys),
            }
        ],
        "runcmd": [
            ["systemctl", "enable", "--now", "ssh.service"],
            ["sh", "-c", "printf '#cloud-config\\n' >/boot/firmware/user-data; sync"],
        ],
    }
    return f"#cloud-config\n{_yaml(settings)}"


def network_config(network: CardNetwork) -> str:
    """Return network-config, in netplan's format."""
    device: dict[str, object] = {"dhcp4": not network.address, "optional": True}
    if network.address:
        device["addresses"] = [network.address]
        device["routes"] = [{"to": "default", "via": network.gateway}]
        device["nameservers"] = {"addresses": list(network.dns or (network.gateway,))}
    dhcp = {"dhcp4": True, "optional": True}
    settings: dict[str, object] = {"version": 2, "ethernets": {"eth0": dhcp if network.ssid else device}}
    if network.ssid:
        device |= {
            "regulatory-domain": network.country,
            "access-points": {network.ssid: {"password": network.password}},
        }
        settings["wifis"] = {"wlan0": device}
    return _yaml({"network": settings})


def meta_data(instance: str) -> str:
    """Return meta-data; a new instance id makes cloud-init apply the files."""
    return _yaml({"dsmode": "local", "instance-id": instance})


def kernel_command_line(text: str, instance: str) -> str:
    """Return cmdline.txt with this instance id, which overrides meta-data; an earlier one is replaced."""
    options = [option for option in text.split() if not option.startswith("ds=nocloud")]
    return " ".join([*options, f"ds=nocloud;i={instance}"]) + "\n"


def _yaml(settings: dict[str, object]) -> str:
    """Return JSON, which YAML parsers read, with the characters escaped that YAML forbids."""
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    return _FORBIDDEN.sub(lambda match: f"\\u{ord(match.group()):04x}", text) + "\n"
