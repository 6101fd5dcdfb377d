"""Find machines of the local network by multicast DNS (RFC 6762, RFC 6763), to propose lines of an inventory."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from toolkit.errors import MachineError

SERVICES = ("_ssh._tcp.local.", "_sftp-ssh._tcp.local.", "_workstation._tcp.local.")
"""Services by which machines that can be logged in to announce themselves. The last one has no port of SSH."""
SSH_PORT = 22
RESOLVE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredHost:
    """A machine that announces itself."""

    name: str
    """Its name in the local network, such as "kitchen.local"."""
    addresses: tuple[str, ...]
    port: int = SSH_PORT
    services: tuple[str, ...] = ()
    known: bool = False
    """Whether the inventory has it already."""


def discover_hosts(seconds: float, interfaces: Sequence[str] = ()) -> tuple[DiscoveredHost, ...]:
    """Return the machines that answer within `seconds`, by name; `interfaces` are addresses of this machine, by default all.

    Raises:
        MachineError: the network does not allow multicast.
    """
    from zeroconf import InterfaceChoice, ServiceBrowser, ServiceListener, Zeroconf

    announced: dict[tuple[str, str], None] = {}

    class _Listener(ServiceListener):
        def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            del zc
            announced[type_, name] = None

        update_service = add_service

        def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
            del zc
            announced.pop((type_, name), None)

    try:
        with Zeroconf(interfaces=list(interfaces) or InterfaceChoice.All) as network:
            browser = ServiceBrowser(network, list(SERVICES), _Listener())
            threading.Event().wait(seconds)
            browser.cancel()
            hosts = [_resolve(network, *service) for service in list(announced)]
    except OSError as error:
        raise MachineError(f"cannot ask the local network: {error}", remedy="check that a network is up") from None
    return _merged(host for host in hosts if host is not None)


def _resolve(network: object, kind: str, name: str) -> DiscoveredHost | None:
    """Return the machine of one announcement; None if it no longer answers."""
    from zeroconf import IPVersion, Zeroconf

    assert isinstance(network, Zeroconf)  # noqa: S101 - `object` keeps the import out of the signature
    info = network.get_service_info(kind, name, timeout=round(RESOLVE_S * 1000))
    if info is None or not info.server:
        return None
    service = kind.removesuffix(".local.")
    return DiscoveredHost(
        name=info.server.rstrip(".").lower(),
        addresses=tuple(info.parsed_scoped_addresses(IPVersion.All)),
        port=(info.port or SSH_PORT) if "ssh" in service else SSH_PORT,
        services=(service,),
    )


def _merged(hosts: Iterable[DiscoveredHost]) -> tuple[DiscoveredHost, ...]:
    """Return one entry for each name; a port that SSH announces goes before the usual one."""
    merged: dict[str, DiscoveredHost] = {}
    for host in hosts:
        before = merged.get(host.name, host)
        merged[host.name] = replace(
            before,
            addresses=tuple(dict.fromkeys((*before.addresses, *host.addresses))),
            port=host.port if before.port == SSH_PORT else before.port,
            services=tuple(sorted({*before.services, *host.services})),
        )
    return tuple(merged[name] for name in sorted(merged))


def inventory_lines(hosts: Iterable[DiscoveredHost]) -> str:
    """Return lines of an inventory, in YAML, for the machines that it does not have yet; empty if there are none."""
    lines = []
    for host in hosts:
        if not host.known:
            lines.append(f"    {host.name}: # {', '.join(host.addresses) or 'no address'}")
            if host.port != SSH_PORT:
                lines.append(f"      ansible_port: {host.port}")
    return "\n".join(("all:", "  hosts:", *lines)) if lines else ""
