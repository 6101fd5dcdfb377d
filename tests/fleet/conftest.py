"""Shells and devices for the fleet's own tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.fleet import LocalShell, Shell, connect


@pytest.fixture
def local_device(tmp_path: Path) -> Device:
    return Device(name="local", host="localhost", root=str(tmp_path / "a device" / "toolkit"), python=sys.executable)


@pytest.fixture
def local_shell(local_device: Device) -> LocalShell:
    return LocalShell(local_device)


@pytest.fixture
def openssh_shell(devices: tuple[Device, ...]) -> Iterator[Shell]:
    with connect(replace(devices[0], variables={**devices[0].variables, "toolkit_ssh_transport": "openssh"})) as shell:
        yield shell


@pytest.fixture
def ssh_shell(devices: tuple[Device, ...]) -> Iterator[Shell]:
    with connect(devices[0]) as shell:
        yield shell
