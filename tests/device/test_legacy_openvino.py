"""The device code on the OpenVINO releases that old devices have, in a real Python 3.9: `just test-legacy`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.convert.runtimes.interpreters import ensure_python
from toolkit.progress import Silent
from toolkit.system.cache_dirs import cache_dir

from .runtime.test_error_messages import READ
from .test_in_flight import SCRIPT, check

pytestmark = pytest.mark.legacy

PACKAGES = {
    "2021.4.2": ("openvino==2021.4.2", "numpy==1.19.5", "opencv-python-headless==4.10.0.84"),
    "2022.3.2": ("openvino==2022.3.2", "numpy==1.24.4", "opencv-python-headless==4.10.0.84"),
}
"""The newest NumPy and OpenCV that each goes with."""
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
PIP += ["--only-binary=:all:", "--python-version=3.9", "--implementation=cp", "--abi=cp39", "--abi=abi3", "--abi=none"]
PIP += ["--platform=manylinux2014_x86_64", "--platform=manylinux_2_17_x86_64", "--platform=manylinux2010_x86_64"]


@dataclass(frozen=True)
class Runtime:
    """An OpenVINO of an era on its Python."""

    version: str
    python: Path
    packages: Path

    def ask(self, *argv: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What the device code says there."""
        return self.run("-m", "toolkit.device", *argv, environment=environment)

    def run(self, *argv: object, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON document that a program prints there."""
        command = [self.python, "-B", *argv]
        paths = os.pathsep.join((str(self.packages), str(Path(toolkit.__file__).parents[1])))
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, "PYTHONNOUSERSITE": "1", **(environment or {})},
        )
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture(scope="session", params=sorted(PACKAGES))
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """One for each of PACKAGES; fetched once and kept for good."""
    packages = PACKAGES[request.param]
    key = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    folder = cache_dir("legacy") / f"{request.param}-{key}-packages"
    if not folder.exists():
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as beside:
            new = Path(beside) / "new"
            subprocess.run([*PIP, "--target", new, *packages], check=True)
            new.rename(folder)
    return Runtime(request.param, ensure_python("3.9", Silent()), folder)


def test_probe_names_the_runtime_and_its_accelerators(runtime: Runtime) -> None:
    document = runtime.ask("probe")
    assert document["openvino"].startswith(runtime.version)
    assert "CPU" in document["accelerators"]
    assert document["python"].startswith("3.9")


def test_golden_answers_are_the_same_in_f32(runtime: Runtime, release: Path) -> None:
    document = runtime.ask("golden", release)
    assert (document["ok"], document["precision"], document["top1_agreement"]) == (True, "f32", 1.0)
    assert document["max_abs"] < 1e-5


@pytest.mark.parametrize("scenario", ["accuracy", "single-stream", "offline"])
def test_bench_gives_a_whole_record(runtime: Runtime, release: Path, images: Path, scenario: str) -> None:
    argv = ("--seconds", "0.5", "--queries", "64", "--precision", "f32", "--threads", "2", "--streams", "2")
    document = runtime.ask("bench", release, "--scenario", scenario, "--images", images, *argv)
    assert document["ok"]
    assert (document["used"]["streams"], document["used"]["precision"]) == (2, "f32")
    assert len(document["samples_ms"]) >= 12
    assert document["accuracy"] == (1.0 if scenario == "accuracy" else None)
    assert document["logged"]


def test_speed_runs_answer_as_the_current_runtime_does(run: Any, runtime: Runtime, release: Path, images: Path) -> None:
    argv = ("--images", images, "--seconds", "0.3", "--precision", "f32")
    expected = run("bench", release, "--scenario", "accuracy", *argv).document
    answers = {entry["image"]: entry["output"] for entry in expected["logged"]}
    for entry in runtime.ask("bench", release, "--scenario", "offline", *argv)["logged"]:
        assert entry["output"] == pytest.approx(answers[entry["image"]], abs=1e-5)


def test_golden_ends_plainly_when_the_accelerator_is_missing(runtime: Runtime, release: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_bytes())
    manifest["golden"]["tolerance"]["GPU"] = 1.0
    (release / "manifest.json").write_text(json.dumps(manifest))
    document = runtime.ask("golden", release, "--accelerator", "GPU")
    assert "has no accelerator GPU" in document["error"]["what"]


def test_queue_works_on_several_at_once_and_tells_failures(
    runtime: Runtime, release: Path, failing_model: Path
) -> None:
    failing = [] if runtime.version.startswith("2021") else [failing_model]
    check(runtime.run(SCRIPT, release / "model.xml", release / "golden/inputs.npy", *failing))


def test_auto_takes_the_cpu_and_says_why(runtime: Runtime, release: Path) -> None:
    document = runtime.ask("golden", release, "--accelerator", "AUTO")
    assert (document["ok"], document["accelerator"], document["precision"]) == (True, "CPU", "f32")
    (note,) = document["notes"]
    assert note.startswith("AUTO chose the CPU: ")
    reason = (
        "no Neural Compute Stick is plugged in" if runtime.version.startswith("2021") else "does not drive a Neural"
    )
    assert reason in note


def test_model_of_a_newer_container_is_refused_with_advice(
    runtime: Runtime, release: Path, tmp_path: Path, failing_model: Path
) -> None:
    if not runtime.version.startswith("2021"):
        return  # 2022 reads it
    newer = copy_of(release, tmp_path)
    for suffix in (".xml", ".bin"):
        shutil.copyfile(failing_model.with_suffix(suffix), (newer / "model").with_suffix(suffix))
    error = runtime.ask("golden", newer)["error"]
    assert error["what"].startswith("OpenVINO 2021 reads IR version 10 and older, and this model is newer")
    assert "--target ncs2" in error["remedy"]


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_missing_file_is_named_and_nothing_crashes(runtime: Runtime, release: Path, tmp_path: Path, name: str) -> None:
    broken = copy_of(release, tmp_path)
    (broken / name).unlink()
    error = runtime.ask("golden", broken)["error"]
    assert (error["what"], Path(error["where"]).name) == ("is missing", name)


@pytest.mark.parametrize("runtime", ["2021.4.2"], indirect=True)
class TestMyriad:
    """The MYRIAD plugin of 2021.4.2, without a stick and with a libusb that plays one."""

    @pytest.fixture
    def stick_release(self, release: Path, tmp_path: Path) -> Path:
        """A bundle that may run on a stick."""
        made = copy_of(release, tmp_path)
        manifest = json.loads((made / "manifest.json").read_bytes())
        manifest["golden"]["tolerance"]["MYRIAD"] = 0.05
        (made / "manifest.json").write_text(json.dumps(manifest))
        return made

    def test_without_a_stick(self, runtime: Runtime, stick_release: Path) -> None:
        error = runtime.ask("golden", stick_release, "--accelerator", "MYRIAD")["error"]
        assert error["what"] == "no Neural Compute Stick is plugged in"

    def test_without_libusb(self, runtime: Runtime, stick_release: Path, tmp_path: Path) -> None:
        (tmp_path / "libusb-1.0.so.0").touch()
        variables = {"LD_LIBRARY_PATH": str(tmp_path)}
        error = runtime.ask("golden", stick_release, "--accelerator", "MYRIAD", environment=variables)["error"]
        assert error["what"].startswith("the MYRIAD plugin needs libusb, which is missing or damaged")
        assert error["remedy"] == "apt-get install libusb-1.0-0"

    def test_without_the_plugin(self, runtime: Runtime, stick_release: Path, tmp_path: Path) -> None:
        lacking = replace(
            runtime, packages=linked(runtime.packages, tmp_path / "packages", without="libmyriadPlugin.so")
        )
        error = lacking.ask("golden", stick_release, "--accelerator", "MYRIAD")["error"]
        assert error["what"].startswith("the MYRIAD plugin cannot be loaded")

    def test_without_firmware(self, runtime: Runtime, stick_release: Path, tmp_path: Path, stand_in: Path) -> None:
        lacking = replace(runtime, packages=linked(runtime.packages, tmp_path / "packages", without="usb-ma2x8x.mvcmd"))
        variables = playing("closed", stand_in)
        error = lacking.ask("golden", stick_release, "--accelerator", "MYRIAD", environment=variables)["error"]
        assert error["what"].startswith("the stick's firmware is not where the MYRIAD plugin is")

    @pytest.mark.parametrize(
        ("playing_what", "message"),
        [
            ("closed", "(OpenVINO: Can not init Myriad device: NC_ERROR)"),
            (
                "claimed",
                "no Neural Compute Stick is plugged in",
            ),  # it lists only those that wait; sysfs tells of the others
            ("lost", "the stick was lost as soon as its firmware ran"),
        ],
    )
    def test_with_a_stick_that_does_not_work(
        self, runtime: Runtime, stick_release: Path, stand_in: Path, playing_what: str, message: str
    ) -> None:
        variables = playing(playing_what, stand_in)
        error = runtime.ask("golden", stick_release, "--accelerator", "MYRIAD", environment=variables)["error"]
        assert message in error["what"]

    def test_strings_that_were_only_read_are_in_the_plugin(self, runtime: Runtime) -> None:
        (plugin,) = runtime.packages.glob("openvino/libs/libmyriadPlugin.so")
        content = plugin.read_bytes()
        assert [message for message in READ if message.encode() not in content] == []


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libusb that plays a stick."""
    folder = tmp_path_factory.mktemp("stick")
    library = folder / "libusb-1.0.so.0"
    source = Path(__file__).with_name("stick.c")
    subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library, source], check=True)
    return folder


def playing(what: str, stand_in: Path) -> dict[str, str]:
    return {"STICK": what, "LD_LIBRARY_PATH": str(stand_in)}


def copy_of(release: Path, folder: Path) -> Path:
    return Path(shutil.copytree(release, folder / "copy"))


def linked(packages: Path, folder: Path, without: str) -> Path:
    """The packages, one file left out; a plugin looks for its firmware where it lies itself, so its folder is copied."""
    shutil.copytree(packages / "openvino", folder / "openvino", ignore=shutil.ignore_patterns(without))
    for package in packages.iterdir():
        if package.name != "openvino":
            (folder / package.name).symlink_to(package)
    return folder
