"""Connections that are left open: one login serves the look at a device and its deployment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit import fleet
from toolkit.artifacts.fleet import Device
from toolkit.fleet import open_connections
from toolkit.fleet.open_connections import OpenConnections

PI, OTHER = (Device(name=name, host="127.0.0.1") for name in ("pi-1", "pi-2"))


@pytest.fixture
def shells(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The shells that were connected."""
    connected: list[SimpleNamespace] = []

    @contextmanager
    def connect(device: Device) -> Iterator[Any]:
        shell = SimpleNamespace(device=device, is_open=True, close=lambda: None)
        connected.append(shell)
        try:
            yield shell
        finally:
            shell.is_open = False

    monkeypatch.setattr(fleet, "connect", connect)
    return connected


def test_open_connection_is_used_again_and_then_closed(shells: list[SimpleNamespace]) -> None:
    connections = OpenConnections(2)
    with connections.connect(PI, leave_open=True) as first:
        pass
    assert first.is_open
    with connections.connect(PI) as second:
        assert second is first
    assert not first.is_open
    with connections.connect(PI) as third:
        assert third is not first
    assert len(shells) == 2


def test_connection_that_was_lost_meanwhile_is_replaced(shells: list[SimpleNamespace]) -> None:
    connections = OpenConnections(2)
    with connections.connect(PI, leave_open=True):
        pass
    shells[0].is_open = False
    with connections.connect(PI) as shell:
        assert shell is shells[1]


def test_old_connection_is_closed_and_replaced(shells: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch) -> None:
    connections = OpenConnections(2)
    with connections.connect(PI, leave_open=True):
        pass
    monkeypatch.setattr(open_connections, "RECENT_S", 0.0)
    with connections.connect(PI) as shell:
        assert shell is shells[1]
        assert not shells[0].is_open


def test_no_more_connections_than_allowed_stay_open(shells: list[SimpleNamespace]) -> None:
    connections = OpenConnections(1)
    for device in (PI, OTHER):
        with connections.connect(device, leave_open=True):
            pass
    assert [shell.is_open for shell in shells] == [True, False]
    connections.close(OTHER)
    assert shells[0].is_open
    connections.close()
    assert not shells[0].is_open


def test_connection_of_a_failed_look_is_closed(shells: list[SimpleNamespace]) -> None:
    connections = OpenConnections(2)
    with pytest.raises(ValueError, match="odd"), connections.connect(PI, leave_open=True):
        raise ValueError("odd")
    assert not shells[0].is_open
