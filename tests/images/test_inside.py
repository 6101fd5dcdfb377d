"""The programs that run inside an image being built."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import sbom
import wheels

import toolkit

INSIDE = Path(toolkit.__file__).parents[1] / "images/inside"


def test_platform_tags_begin_with_the_newest_glibc() -> None:
    tags = wheels.platform_tags("arm64", "2.36")
    assert tags[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_35_aarch64", "manylinux2014_aarch64"} <= set(tags)
    assert "manylinux_2_35_x86_64" not in wheels.platform_tags("amd64", "2.31")


def test_remove_unused_removes_patterns_and_bookkeeping(tmp_path: Path) -> None:
    for name in ("a/tests/one.py", "a/used.py", "a-1.dist-info/RECORD", "a-1.dist-info/METADATA"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    assert wheels.remove_unused(tmp_path, ["a/tests/*"]) == 8
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == [
        "a-1.dist-info/METADATA",
        "a/used.py",
    ]


def test_split_keeps_every_requirement_with_its_hashes_once() -> None:
    lock = (INSIDE.parents[1] / "requirements/image-train.txt").read_text()
    groups = wheels.split(lock, ["openvino", "tensorflow"])
    assert sum(text.count("--hash=") for text in groups.values()) == lock.count("--hash=") > 0
    named = {name: re.findall(r"^([\w-]+)==", text, re.MULTILINE) for name, text in groups.items()}
    assert named["openvino"] == ["openvino", "openvino-telemetry"]
    assert "intel-tensorflow" in named["tensorflow"]
    assert len(named["rest"]) + len(named["openvino"]) + len(named["tensorflow"]) == len(
        re.findall("^[a-z].*==", lock, re.MULTILINE)
    )


@pytest.mark.parametrize("at_once", [False, True])
def test_run_all_exits_when_one_of_its_forks_fails(tmp_path: Path, at_once: bool) -> None:
    def fail() -> None:
        raise SystemExit(3)

    wheels.run_all([partial(Path.touch, tmp_path / name) for name in "abc"], at_once=at_once)
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(SystemExit, match="see the messages above"):
        wheels.run_all([fail], at_once=at_once)


@pytest.mark.parametrize("seed", ["0", "7"])
def test_bytecode_is_unchecked_and_has_the_epoch(tmp_path: Path, seed: str) -> None:
    (tmp_path / "module.py").write_text("NAMES = {'b', 'a', 'c'}\n")
    (tmp_path / "template.py").write_text("{{ not python }} !")
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1000", "PYTHONHASHSEED": seed}
    subprocess.run([sys.executable, INSIDE / "bytecode.py", tmp_path, tmp_path / "out"], env=environment, check=True)
    (compiled,) = (tmp_path / "out").rglob("*.pyc")
    assert compiled.stat().st_mtime == 1000
    assert compiled.read_bytes()[4] == 1, "hash-based, never checked (PEP 552)"


def test_sbom_names_debian_packages_and_wheels(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg/status.d").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status.d/libc6").write_text("Package: libc6\nVersion: 1:2.36+b1\nArchitecture: arm64\n")
    (tmp_path / "var/lib/dpkg/status.d/zlib1g").write_text(
        "Package: zlib1g\nSource: zlib (1:1.2)\nVersion: 1:1.2+b3\nArchitecture: arm64\n"
    )
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    (tmp_path / "site/numpy-2.0.dist-info").mkdir(parents=True)
    (tmp_path / "site/numpy-2.0.dist-info/METADATA").write_text("Name: Num_Py\nVersion: 2.0\n\nText")
    document = sbom.document(tmp_path, "x", 0)
    locators = [entry["externalRefs"][0]["referenceLocator"] for entry in json.loads(json.dumps(document))["packages"]]
    assert locators == [
        "pkg:deb/debian/libc6@1%3A2.36%2Bb1?arch=arm64&distro=bookworm",
        "pkg:deb/debian/zlib1g@1%3A1.2%2Bb3?arch=arm64&distro=bookworm",
        "pkg:pypi/num-py@2.0",
    ]
    assert document["packages"][1]["sourceInfo"] == "built package from: zlib 1:1.2"  # type: ignore[index]
    assert document == sbom.document(tmp_path, "x", 0)
