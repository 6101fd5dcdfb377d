"""Passwords that are asked for, or that lie in files; tests/fleet/ssh uses them on servers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from toolkit.artifacts.fleet import Device
from toolkit.cli.main import app
from toolkit.errors import ConfigurationError, UsageError
from toolkit.fleet import load_inventory
from toolkit.fleet.inventory import passwords
from toolkit.fleet.inventory.passwords import Passwords, ask_passwords


def answers(monkeypatch: pytest.MonkeyPatch, *typed: str) -> list[str]:
    """Let somebody type these; the returned list fills with the prompts."""
    prompts: list[str] = []
    remaining: Iterator[str] = iter(typed)

    def getpass(prompt: str) -> str:
        prompts.append(prompt)
        return next(remaining)

    monkeypatch.setattr(passwords, "getpass", getpass)
    return prompts


def test_ask_passwords_asks_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = answers(monkeypatch, "one", "two")
    assert ask_passwords(login=True, become=True) == Passwords("one", "two")
    assert prompts == ["SSH password: ", "sudo password: "]


def test_ask_passwords_takes_the_login_for_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "one", "")
    assert ask_passwords(login=True, become=True).become == "one"


def test_ask_passwords_asks_nothing_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers(monkeypatch) == []
    assert ask_passwords(login=False, become=False) == Passwords()


@pytest.mark.filterwarnings("ignore:Can not control echo")
def test_ask_passwords_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("os.open", lambda *_: (_ for _ in ()).throw(OSError("no terminal")))
    with pytest.raises(UsageError, match="no terminal"):
        ask_passwords(login=False, become=True)


@pytest.mark.slow
def test_inventory_goes_before_what_was_asked(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text("one ansible_become_password=own\ntwo\n")
    one, two = load_inventory(tmp_path / "hosts.ini", prompted=Passwords(become="asked"))
    assert (one.become_password, two.become_password, two.password) == ("own", "asked", None)
    assert "asked" not in repr(two)


@pytest.mark.slow
def test_ansible_cfg_names_the_file_of_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_CONFIG", raising=False)
    (tmp_path / "hosts.ini").write_text("one\n")
    (tmp_path / "ansible.cfg").write_text("[defaults]\nbecome_password_file = secret\n")
    with pytest.raises(ConfigurationError, match="password file cannot be read: No such file"):
        load_inventory(tmp_path / "hosts.ini")
    (tmp_path / "secret").write_text("from the file\n")
    (device,) = load_inventory(tmp_path / "hosts.ini")
    assert device.become_password == "from the file"


@pytest.mark.parametrize("verb", [["deploy", "no-bundle"], ["rollback"]])
def test_verbs_that_restart_services_pass_it_on(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hosts.ini").write_text("one\n")
    prompts = answers(monkeypatch, "asked")
    devices: list[Device] = []

    def stop(*values: Any, **_named: Any) -> None:
        devices.extend(next(value for value in values if isinstance(value, tuple)))
        raise UsageError("far enough")

    for name in ("plan_rollout", "plan_rollback"):
        monkeypatch.setattr(f"toolkit.deploy.{name}", stop)
    monkeypatch.setattr("toolkit.bundle.resolve.bundle_folder", lambda *_: tmp_path)
    place = ["--inventory", str(tmp_path / "hosts.ini"), "--workspace", str(tmp_path)]
    result = CliRunner().invoke(app, [*verb, "--fleet", "-K", "--dry-run", *place])
    assert prompts == ["sudo password: "], result.output
    assert [device.become_password for device in devices] == ["asked"]
