"""Devices: the inventory, connections, facts, and the same work on many devices at once."""

from toolkit.fleet.facts import probe, probe_current, probe_in_image
from toolkit.fleet.inventory.load import load_inventory
from toolkit.fleet.pool import FleetResult, fan_out
from toolkit.fleet.ssh.connection import connect
from toolkit.fleet.ssh.shell import CommandResult, LocalShell, Shell

__all__ = [
    "CommandResult",
    "FleetResult",
    "LocalShell",
    "Shell",
    "connect",
    "fan_out",
    "load_inventory",
    "probe",
    "probe_current",
    "probe_in_image",
]
