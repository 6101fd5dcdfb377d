"""What is installed on a device, and versions ordered as dpkg and pip order them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.artifacts.fleet import Device
from toolkit.errors import FleetError, UsageError
from toolkit.fleet import LocalShell
from toolkit.fleet.installed_packages import ComponentQuery, Package, debian_version, installed_packages, wheel_version

RISING = [
    "1.0~~",
    "1.0~rc1-1",
    "1.0~rc1+dfsg-1",
    "1.0-1",
    "1.0-1+deb12u1",
    "1.0a-1",
    "1.0+b1-1",
    "1.0.1-1",
    "1.2",
    "1.10",
    "1:0.1",
]
VERSIONS = st.from_regex(r"([0-2]:)?[0-9][0-9a-c.+~]{0,5}(-[0-9a-c.+~]{1,4})?", fullmatch=True)
LIBC = Package("deb", "libc6", "2.36-9+b1", "glibc", "2.36-9")
NUMPY = Package("pypi", "numpy", "2.4.6")


def test_debian_puts_versions_into_the_order_of_dpkg() -> None:
    assert sorted(RISING, key=debian_version) == RISING


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is Debian's")
@given(VERSIONS, VERSIONS)
@settings(max_examples=60, deadline=None)
def test_debian_agrees_with_dpkg(one: str, other: str) -> None:
    done = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False, stderr=subprocess.DEVNULL)
    assert (debian_version(one) < debian_version(other)) is (done.returncode == 0)


def test_wheel_counts_what_is_no_version_as_oldest() -> None:
    assert wheel_version("not one") < wheel_version("0.1") < wheel_version("0.10") < wheel_version("1.0.post1")


@pytest.mark.parametrize(
    ("text", "package", "expected"),
    [
        ("numpy", NUMPY, True),
        ("NumPy<2.10", NUMPY, True),
        ("numpy<2.4.6", NUMPY, False),
        ("numpy <= 2.4.6", NUMPY, True),
        ("numpy==2.4.6", NUMPY, True),
        ("numpy>2.4.6", NUMPY, False),
        ("num", NUMPY, False),
        ("backports-strenum>=1", Package("pypi", "backports.strenum", "1.2.8"), True),
        ("libc6<2.36-9+b1", LIBC, False),
        ("glibc<2.36-9+b1", LIBC, True),
        ("glibc<2.36-9~", LIBC, False),
        ("libstdc++6<99", Package("deb", "libstdc++6", "12.2.0-14"), True),
    ],
)
def test_query_matches_names_and_versions(text: str, package: Package, expected: bool) -> None:
    assert ComponentQuery.parse(text).matches(package) is expected


@pytest.mark.parametrize("text", ["", "<2", "numpy<", "numpy<2<3", "numpy 2", "-x"])
def test_query_refuses_what_is_no_component(text: str) -> None:
    with pytest.raises(UsageError, match="is not a component"):
        ComponentQuery.parse(text)


def test_installed_packages_are_those_of_its_interpreter(tmp_path: Path) -> None:
    device = Device(name="one", host="h", connection="local", root=str(tmp_path), python=sys.executable)
    packages = installed_packages(device, LocalShell(device))
    assert Package("pypi", "numpy", version("numpy")) in packages


@pytest.mark.parametrize("output", ["", "[]", "{}", '{"packages": 3}', '{"packages": ["x"]}', "[" * 9999, "exit 1"])
def test_a_device_that_lists_nothing_is_an_error(tmp_path: Path, output: str) -> None:
    """Not one that runs no such component."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{'exit 1' if output == 'exit 1' else f'cat {tmp_path}/output'}\n")
    python.chmod(0o755)
    (tmp_path / "output").write_text(output)
    device = Device(name="one", host="h", connection="local", root=str(tmp_path), python=str(python))
    with pytest.raises(FleetError, match="packages"):
        installed_packages(device, LocalShell(device))


def test_fields_of_other_types_are_left_out(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat {tmp_path}/output\n")
    python.chmod(0o755)
    entries = [{"kind": "pypi", "name": ["x"], "version": "1"}, {"kind": "pypi", "name": "numpy", "version": "2.4.6"}]
    (tmp_path / "output").write_text(json.dumps({"packages": entries}))
    device = Device(name="one", host="h", connection="local", root=str(tmp_path), python=str(python))
    assert installed_packages(device, LocalShell(device)) == (NUMPY,)
