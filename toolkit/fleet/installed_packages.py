"""The packages installed on a device, from the device code's probe, and the order of their versions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from toolkit.artifacts.fleet import Device
from toolkit.device.layout import CONTAINER_IMAGE, CURRENT
from toolkit.errors import FleetError, UsageError
from toolkit.fleet import device_command
from toolkit.fleet.facts import PROBE, PROVISION
from toolkit.fleet.ssh.shell import Shell

DEVICE, CONTAINER = "device", "container"
_SCRIPT = """
python=$1
command -v "$python" >/dev/null 2>&1 || python=python3
exec "$python" -B - --packages
"""
"""A device whose releases run in a container need not have the interpreter of the inventory."""
_QUERY = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+-]*?)\s*(?:(<=|>=|==|<|>)\s*([^\s<>=]+))?", re.ASCII)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, "==": eq, ">=": ge, ">": gt}


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """An installed package."""

    kind: str
    """"pypi", "deb", or "generic" for OpenVINO from Intel's archive."""
    name: str
    version: str
    source: str = ""
    """Debian's source package, by which vulnerabilities are listed."""
    source_version: str = ""
    place: str = DEVICE
    """Where it is installed: on the "device", or in the "container" image of its release."""


@dataclass(frozen=True, slots=True)
class ComponentQuery:
    """A component by name, perhaps only in some versions: "openvino<2026.4"."""

    name: str
    operator: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> ComponentQuery:
        """Return the query in a text: NAME, or NAME, an operator (<, <=, ==, >=, >) and a version.

        Raises:
            UsageError: it is neither.
        """
        match = _QUERY.fullmatch(text.strip())
        if match is None:
            remedy = "name a component, or a component and a version: openvino, 'numpy<2.1', 'openssl<=3.0.15-1'"
            raise UsageError(f"{text!r} is not a component", where="--component", remedy=remedy)
        return cls(match[1], match[2] or "", match[3] or "")

    def matches(self, package: Package) -> bool:
        """Return whether it is that component, by its name or its source package's, in one of those versions."""
        own, source = (package.name, package.version), (package.source, package.source_version)
        return any(_same(self.name, name) and self._includes(version, package.kind) for name, version in (own, source))

    def _includes(self, version: str, kind: str) -> bool:
        if not self.operator:
            return True
        key = debian_version if kind == "deb" else wheel_version
        return _OPERATORS[self.operator](key(version), key(self.version))


def _same(one: str, other: str) -> bool:
    return bool(other) and canonicalize_name(one) == canonicalize_name(other)


def installed_packages(device: Device, shell: Shell) -> tuple[Package, ...]:
    """Return what is installed on a device, and in the container image of its current release.

    Raises:
        FleetError: unreachable, or it has no Python that lists the packages.
    """
    container_image = shell.run(["cat", f"{device.root}/{CURRENT}/{CONTAINER_IMAGE}"]).stdout.strip()
    commands = {DEVICE: ["/bin/sh", "-c", _SCRIPT, "sh", device.python]}
    if container_image:
        commands[CONTAINER] = [*device_command.probe(device, container_image, "--packages")]
    code = PROBE.read_bytes()
    packages: set[Package] = set()
    for place, command in commands.items():
        output = shell.run(command, stdin=code).check(device, f"listing the packages of the {place}", PROVISION).stdout
        packages |= {*_parsed(device, output, place)}
    return tuple(sorted(packages))


def _parsed(device: Device, output: str, place: str) -> Iterator[Package]:
    """Yield the packages that the probe printed; a device's output is untrusted."""
    try:
        for entry in json.loads(output)["packages"]:
            fields = {key: entry.get(key, "") for key in ("kind", "name", "version", "source", "source_version")}
            if all(isinstance(each, str) for each in fields.values()):
                yield Package(**fields | {"place": place})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"its probe listed no packages: {output[:200]!r} ({error})"
        raise FleetError(what, where=device.name, remedy=PROVISION) from None


def wheel_version(version: str) -> Version:
    """Return the comparable form of a Python package's version; an invalid one sorts before all others."""
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0.dev0")


def debian_version(version: str) -> tuple[Any, ...]:
    """Return the comparable form of a Debian version, as deb-version(7) defines it."""
    epoch, colon, rest = version.partition(":")
    upstream, dash, revision = (rest if colon else version).rpartition("-")
    return (
        int(epoch) if epoch.isdecimal() and colon else 0,
        _digits_apart(upstream if dash else revision),
        _digits_apart(revision if dash else "0"),
    )


def _digits_apart(text: str) -> tuple[Any, ...]:
    """Alternating characters and numbers: "~" sorts before the end, the end before letters, letters before the rest."""
    parts = re.findall(r"(\D*)(\d*)", text, re.ASCII)
    return tuple((tuple(_rank(one) for one in (*letters, "")), int(digits or 0)) for letters, digits in parts)


def _rank(character: str) -> int:
    if character == "~":
        return -1
    return 0 if not character else ord(character) + (0 if character.isalpha() else 256)
