"""Machines that announce themselves through a real responder on loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from zeroconf import ServiceInfo, Zeroconf

from toolkit.cli.main import main
from toolkit.fleet.discovery import DiscoveredHost, discover_hosts, inventory_lines

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def announced() -> Iterator[None]:
    """kitchen with SSH on another port and as a workstation, gate with SSH; and a printer."""
    with Zeroconf(interfaces=[LOOPBACK]) as responder:
        for kind, host, port, address in (
            ("_ssh._tcp.local.", "kitchen-7f3a", 2222, "192.0.2.14"),
            ("_workstation._tcp.local.", "kitchen-7f3a", 9, "192.0.2.14"),
            ("_ssh._tcp.local.", "Gate-7f3a", 22, "192.0.2.15"),
            ("_ipp._tcp.local.", "printer-7f3a", 631, "192.0.2.16"),
        ):
            info = ServiceInfo(
                kind, f"{host}.{kind}", port, addresses=[socket.inet_aton(address)], server=f"{host}.local."
            )
            responder.register_service(info)
        yield


@pytest.mark.slow
def test_machines_are_found_and_proposed_once_each(
    announced: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test: two workers of pytest that announce the same names would disturb each other."""
    hosts = [host for host in discover_hosts(5, [LOOPBACK]) if "7f3a" in host.name]
    assert hosts == [
        DiscoveredHost(name="gate-7f3a.local", addresses=("192.0.2.15",), services=("_ssh._tcp",)),
        DiscoveredHost(
            name="kitchen-7f3a.local",
            addresses=("192.0.2.14",),
            port=2222,
            services=("_ssh._tcp", "_workstation._tcp"),
        ),
    ]

    def run(*argv: str) -> str:
        with pytest.raises(SystemExit) as left:
            main(["fleet", "discover", "--seconds", "5", "--interface", LOOPBACK, *argv])
        assert left.value.code == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    assert yaml.safe_load(run())["all"]["hosts"] == {
        "gate-7f3a.local": None,
        "kitchen-7f3a.local": {"ansible_port": 2222},
    }
    (tmp_path / "hosts.yml").write_text("all: {hosts: {hall: {ansible_host: 192.0.2.15}}}\n")
    hosts = json.loads(run("--json", "--inventory", "hosts.yml"))["hosts"]
    assert {host["name"]: host["known"] for host in hosts} == {"gate-7f3a.local": True, "kitchen-7f3a.local": False}
    assert "gate" not in run("--inventory", "hosts.yml")


def test_proposed_lines_are_an_inventory() -> None:
    hosts = [
        DiscoveredHost(name="a.local", addresses=()),
        DiscoveredHost(name="b.local", addresses=("192.0.2.1", "fe80::1"), port=2222),
        DiscoveredHost(name="c.local", addresses=(), known=True),
    ]
    assert yaml.safe_load(inventory_lines(hosts)) == {
        "all": {"hosts": {"a.local": None, "b.local": {"ansible_port": 2222}}}
    }
    assert inventory_lines(hosts[2:]) == ""
