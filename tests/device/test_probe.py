from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from toolkit.device import probe

Command = Callable[..., Any]


def test_probe_names_openvino_and_accelerators(run: Command, tmp_path: Path) -> None:
    answer = run("probe", "--root", tmp_path)
    assert answer.code == 0
    assert "CPU" in answer.document["accelerators"]
    assert answer.document["openvino"].startswith("20")
    assert (answer.document["litert"], answer.document["litert_error"]) == (version("ai-edge-litert"), None)
    assert answer.document["machine"] == platform.machine()
    assert answer.document["free_bytes"] > 0
    assert (answer.document["current"], answer.document["releases"]) == (None, [])


def test_probe_names_releases_when_root_has_some(run: Command, tmp_path: Path) -> None:
    for name in ("aaa", "bbb", ".part"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/bbb")
    (tmp_path / "previous").symlink_to("releases/aaa")
    document = run("probe", "--root", tmp_path).document
    assert (document["current"], document["previous"], document["releases"]) == ("bbb", "aaa", ["aaa", "bbb"])


def test_probe_answers_from_stdin_without_any_package(tmp_path: Path) -> None:
    code = Path(probe.__file__).read_bytes()
    argv = [sys.executable, "-I", "-S", "-", "--root", tmp_path / "not" / "there"]
    done = subprocess.run(argv, input=code, capture_output=True, check=True)
    document = json.loads(done.stdout)
    assert document["openvino"] is document["opencv"] is document["numpy"] is None
    assert "ModuleNotFoundError" in document["openvino_error"]
    assert document["free_bytes"] > 0


def test_probe_says_nothing_more_when_whoever_asked_has_gone(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "toolkit.device", "probe", "--root", str(tmp_path)]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, check=False, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vcgencmd that answers as a Raspberry Pi 4's does."""
    program = tmp_path / "vcgencmd"
    program.write_text(
        '#!/bin/sh\ncase "$1" in\n get_throttled) echo throttled=0x50005;;\n'
        " measure_temp) echo \"temp=48.7'C\";;\n measure_clock) echo 'frequency(48)=1500345728';;\nesac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return program


def test_readings_are_the_firmwares_when_there_is_vcgencmd(firmware: Path) -> None:
    result = probe.readings()
    assert (result["throttled"], result["temperature_c"]) == (0x50005, 48.7)
    assert result["clock_mhz"] == pytest.approx(1500.345728)


@pytest.mark.parametrize(
    "script", ["echo VCHI initialization failed >&2; exit 255", """echo 'error=1 error_msg="Command not registered"'"""]
)
def test_readings_have_null_when_vcgencmd_fails(firmware: Path, script: str) -> None:
    firmware.write_text(f"#!/bin/sh\n{script}\n")
    result = probe.readings()
    assert result["throttled"] is None
    assert result["temperature_c"] == probe.temperature_c() != 48.7


def test_throttled_is_null_when_there_is_no_vcgencmd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probe.throttled() is None


_CORE = "processor\t: {n}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd\nCPU implementer\t: {maker}\nCPU variant\t: 0x0\nCPU part\t: {part}\n\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "".join(_CORE.format(n=n, maker="0x41", part="0xd08") for n in range(4)) + "Model\t: Raspberry Pi 4\n",
            "Cortex-A72",
        ),
        (
            _CORE.format(n=0, maker="0x41", part="0xd0b") + _CORE.format(n=1, maker="0x41", part="0xd05"),
            "Cortex-A55 + Cortex-A76",
        ),
        (_CORE.format(n=0, maker="0x61", part="0x022"), "0x61 0x022"),
        ("processor : 0\nvendor_id : GenuineIntel\nmodel name : Some CPU @ 2 GHz\n", "Some CPU @ 2 GHz"),
        ("", None),
    ],
)
def test_processor_is_named_from_cpuinfo(monkeypatch: pytest.MonkeyPatch, text: str, name: str | None) -> None:
    monkeypatch.setattr(probe, "text_of", lambda _path: text)
    assert probe.processor() == name


STATUS = """\
Package: libc6
Status: install ok installed
Source: glibc (2.36-9)
Version: 2.36-9+b1

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: zlib1g
Status: install ok installed
Description: several
 Version: 9
Version: 1:1.2.13
"""


def test_packages_are_those_of_python() -> None:
    argv = [sys.executable, "-B", "-", "--packages"]
    done = subprocess.run(argv, input=Path(probe.__file__).read_bytes(), capture_output=True, check=True)
    packages = json.loads(done.stdout)["packages"]
    assert {"kind": "pypi", "name": "numpy", "version": version("numpy")} in packages
    assert "generic" not in {each["kind"] for each in packages}, "OpenVINO is a package here"


def test_debian_packages_are_the_installed_ones(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "status.d").mkdir()
    (tmp_path / "status.d" / "base-files").write_text(
        "Package: base-files\nVersion: 13\n"
    )  # in a container image of ours
    assert probe.debian_packages(tmp_path) == [
        {"kind": "deb", "name": "libc6", "version": "2.36-9+b1", "source": "glibc", "source_version": "2.36-9"},
        {"kind": "deb", "name": "zlib1g", "version": "1:1.2.13", "source": "zlib1g", "source_version": "1:1.2.13"},
        {"kind": "deb", "name": "base-files", "version": "13", "source": "base-files", "source_version": "13"},
    ]


def test_openvino_of_an_archive_is_listed_without_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe.importlib_metadata, "distributions", list)
    monkeypatch.setattr(probe, "openvino", lambda: {"openvino": "2022.3.2-9279-e2c7e4d7b4d"})
    assert probe.packages()[0] == {"kind": "generic", "name": "openvino", "version": "2022.3.2"}
