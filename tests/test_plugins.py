"""The example plugin of the documentation, installed by pip into a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.device.image_files import png

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "plugin"
BUILD_NETWORK = """
from toolkit.networks import find_network
from toolkit.progress import Silent
network = find_network("tiny_net")
print(network.title, network.build((32, 32), pretrained=False, progress=Silent()).output_shape)
"""
SEND_ALERT = """
import sys, time, pathlib
import numpy as np
from toolkit.device.app.alerts.alert_file import read_alerts
from toolkit.device.app.alerts.rules import AlertDispatcher
from toolkit.device.app.pipeline.messages import Frame, Classification
config = read_alerts(pathlib.Path(sys.argv[1]), ["a", "b"])
dispatcher = AlertDispatcher(config, print)
dispatcher.start()
frame = Frame(1, 0, pixels=np.zeros((8, 8, 3), np.uint8))
dispatcher.see(Classification(frame, [("a", 0.9)], None, "release", 1.0))
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
dispatcher.end(5)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(EXAMPLE)], check=True)
    return folder


def run(installed: Path | None, *argv: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed or "")}
    argv_text = [sys.executable, *map(str, argv)]
    return subprocess.run(argv_text, env=environment, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.slow
def test_a_data_format_is_a_source(installed: Path, tmp_path: Path) -> None:
    for name in ("red", "blue"):
        pixels = np.full((16, 16, 3), len(name), np.uint8)
        (tmp_path / f"{name}.png").write_bytes(png(pixels, 2))
    (tmp_path / "images.txt").write_text("warm: red.png\ncold: blue.png\n")
    argv = ("-m", "toolkit", "data", "inspect", tmp_path / "images.txt", "--source", "name_list", "--json")
    result = run(installed, *argv, "--workspace", tmp_path / "w")
    assert set(json.loads(result.stdout)["labels"]) == {"warm", "cold"}, result.stderr
    without = run(None, *argv, "--workspace", tmp_path / "w")
    assert without.returncode == 2
    assert "unknown data format 'name_list'" in without.stderr
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(
        'name = "x"\n[data]\nsource = "name_list"\npath = "images.txt"\n[matrix]\nnetworks = ["tiny_net"]\n'
    )
    inspect = ("-m", "toolkit", "data", "inspect", experiment, "--json", "--workspace", tmp_path / "w")
    assert set(json.loads(run(installed, *inspect).stdout)["labels"]) == {"warm", "cold"}
    assert "data.source: Input should be one of " in run(None, *inspect).stderr


@pytest.mark.slow
def test_a_network_is_built(installed: Path) -> None:
    built = run(installed, "-c", BUILD_NETWORK)
    assert built.stdout.splitlines()[-1:] == ["Tiny net (None, 8, 8, 16)"], built.stderr
    assert "known: " in run(None, "-c", BUILD_NETWORK).stderr


def test_a_check_belongs_to_the_doctor(installed: Path) -> None:
    code = "from toolkit.doctor import all_checks; print(all_checks()[-1].name)"
    assert run(installed, "-c", code).stdout == "camera-group\n"
    assert run(None, "-c", code).stdout == "ssh-agent\n"


def test_a_sink_gets_alerts(installed: Path, tmp_path: Path) -> None:
    config, log = tmp_path / "alerts.json", tmp_path / "alerts.log"
    content = {"alert": [{"name": "a", "label": "a", "frames": 1}], "log_file": {"path": str(log)}}
    config.write_text(json.dumps(content))
    assert run(installed, "-c", SEND_ALERT, config, log).stderr == ""
    assert json.loads(log.read_text())["alert"] == "a"
    assert "log_file: is not known" in run(None, "-c", SEND_ALERT, config, log).stderr
    config.write_text(json.dumps({**content, "log_file": {"path": f"{tmp_path}/no/log", "colour": "red"}}))
    assert "log_file.colour: is not known" in run(installed, "-c", SEND_ALERT, config, log).stderr


@pytest.mark.parametrize(
    ("kind", "target", "what"),
    [
        ("doctor_checks", "nowhere:CHECK", "cannot be loaded: ModuleNotFoundError"),
        ("doctor_checks", "json:dumps", "is function, not Check"),
        ("networks", "json:dumps", "is function, not Network"),
    ],
)
def test_a_broken_plugin_is_named(kind: str, target: str, what: str, tmp_path: Path) -> None:
    info = tmp_path / "broken-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[edge_vision_toolkit.{kind}]\nbad = {target}\n")
    code = {
        "doctor_checks": "import toolkit.doctor as d; print(*next(iter(d.all_checks()[-1].check(None))).what.split())",
        "networks": "from toolkit.networks import find_network; find_network('bad')",
    }[kind]
    done = run(tmp_path, "-c", code)
    assert "broken 2.0: the plugin bad" in done.stdout + done.stderr
    assert what in done.stdout + done.stderr
