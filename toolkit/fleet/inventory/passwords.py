"""Passwords of devices that have none in the inventory: asked for once, or read from the files that ansible.cfg names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path

from toolkit.errors import ConfigurationError, UsageError

_FILES = {"login": "connection_password_file", "become": "become_password_file"}


@dataclass(frozen=True, slots=True)
class Passwords:
    """Passwords of the login and of sudo; None: there is none."""

    login: str | None = field(default=None, repr=False)
    become: str | None = field(default=None, repr=False)


def ask_passwords(*, login: bool, become: bool) -> Passwords:
    """Ask for passwords on the terminal, as Ansible's -k and -K do; an empty one for sudo is that of the login.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    try:
        first = getpass("SSH password: ") if login else None
        second = getpass("sudo password: ") if become else None
    except EOFError:
        remedy = "run it in a terminal, or set ansible_become_password and ansible_password in a vault"
        raise UsageError("there is no terminal to ask for the password on", remedy=remedy) from None
    return Passwords(first, second or first if become else None)


def complete(prompted: Passwords, settings: Mapping[str, str]) -> Passwords:
    """Return the passwords with those of the files that `settings` name, for what was not asked.

    Raises:
        ConfigurationError: a file cannot be read, or a program fails.
    """
    values = {
        name: _read(Path(settings[setting]))
        if (known := getattr(prompted, name)) is None and setting in settings
        else known
        for name, setting in _FILES.items()
    }
    return Passwords(**values)


def _read(path: Path) -> str:
    """Return the password in a file, or the output of an executable file, as Ansible does."""
    try:
        if os.access(path, os.X_OK):
            return subprocess.run([path], check=True, capture_output=True, text=True).stdout.strip("\r\n")
        return path.read_text().strip("\r\n")
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"the password file cannot be read: {why}", where=str(path), remedy="see ansible.cfg, and the file"
        ) from None
