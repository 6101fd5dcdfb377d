"""The locked requirements: hashed, without addresses, and one version of everything."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

PINNED = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def locks(repository: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((repository / "requirements").glob("*.txt"))}


def test_locks_hold_hashes_and_no_addresses(locks: dict[str, str]) -> None:
    assert {"uv.txt", "rust-just.txt", "dev.txt", "device.txt"} <= locks.keys()
    for name, text in locks.items():
        assert "://" not in text, name
        entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
        assert [entry.partition("\n")[0] for entry in entries if "--hash=sha256:" not in entry] == [], name


def test_locks_agree_on_versions_when_machines_install_parts(locks: dict[str, str]) -> None:
    versions = defaultdict(set)
    # For a Python, a TensorFlow or a Home Assistant that the newest versions have left behind.
    older = {"device-2023.txt", "device-archive.txt", "homeassistant.txt", "image-train.txt", "mkl.txt"}
    for text in (text for name, text in locks.items() if name not in older):
        pinned = PINNED.findall(text)
        for package in {package for package, _ in pinned}:  # it may have another version for another Python
            versions[package].add(frozenset(version for name, version in pinned if name == package))
    assert {package: result for package, result in versions.items() if len(result) > 1} == {}


def test_locks_keep_training_off_the_devices(locks: dict[str, str]) -> None:
    on_a_device = {package for package, _ in PINNED.findall(locks["device.txt"])}
    assert {"openvino", "numpy", "opencv-python-headless"} <= on_a_device
    assert on_a_device & {"tensorflow", "tensorflow-cpu", "keras", "fabric", "polars"} == set()
