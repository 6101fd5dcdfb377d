"""A verb whose packages are missing names the extra that brings them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from toolkit import hashing
from toolkit.cli import main

pytestmark = pytest.mark.slow

BASE = "packaging pydantic rich typer"
DEVICE = f"{BASE} numpy cv2 openvino"
FLEET = "ansible asyncssh fabric paramiko invoke requests yaml cryptography"
EXTRAS = {
    "device": DEVICE,
    "train": f"{DEVICE} keras nncf onnxruntime pip requests tensorflow",
    "fleet": f"{BASE} {FLEET}",
    "report": f"{BASE} altair jinja2 numpy vl_convert",
}
PACKAGES = set(" ".join(EXTRAS.values()).split()) | {"ray", "mlflow", "docker", "polars"}
SCRIPT = """
import sys
from importlib.abc import MetaPathFinder

class Block(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
from toolkit.__main__ import main
sys.argv = ["toolkit", *{argv!r}]
main()
"""
VERBS = {
    "run x.toml": "all",
    "demo": "all",
    "train x.toml": "train",
    "tune mobilenet": "train",
    "evaluate model.keras --data .": "train",
    "predict model.keras x.png": "train",
    "inspect model.keras": "train",
    "convert x": "train",
    "check x": "train",
    "parity x": "train",
    "init .": "train",
    "provision -i hosts.yml": "fleet",
    "serve bundle": "device",
    "data inspect .": "train",
    "data split images": "train",
    "data masks": "train",
    "data review x.toml": "train",
    "deploy bundle --fleet -i inventory.yml": "fleet",
    "rollback --fleet -i inventory.yml": "fleet",
    "status --fleet -i inventory.yml": "fleet",
    "view pi -i inventory.yml": "fleet",
    "fleet probe -i inventory.yml": "fleet",
    "bench bundle --local": "device,fleet",
    "bench bundle --fleet -i inventory.yml": "device,fleet",
    "fleet list -i inventory.yml": "fleet",
    "fleet exec --fleet -i inventory.yml -- true": "fleet",
    "fleet logs --fleet -i inventory.yml": "fleet",
    "fleet watch -i inventory.yml": "fleet",
    "fleet up": "fleet",
    "report": "report",
    "collect --fleet -i inventory.yml": "fleet",
    "label x.toml": "all",
    "retrain x.toml": "all",
    "loop x.toml --fleet -i inventory.yml": "all",
}


def write_bundle(folder: Path) -> None:
    """Write a bundle that is intact, of files that are none."""
    names = ("model.xml", "model.bin", "labels.txt", "golden/inputs.npy", "golden/outputs.npy")
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    entry = {"sha256": hashing.sha256_bytes(b"x"), "size_bytes": 1}
    manifest = {"format": 1, "name": "x", "precision": "fp32", "target": "cpu", "labels": ["a", "b"]}
    manifest |= {
        "input": {},
        "output": {},
        "golden": {},
        "lineage": {"ir": "", "split": ""},
        "versions": {},
        "parity": {},
        "files": dict.fromkeys(names, entry),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "x.toml").write_text(
        'name = "x"\n[data]\nsource = "folders"\npath = "."\n[matrix]\nnetworks = ["mobilenet"]\n[[stages]]\nname = "top"\n'
    )
    (tmp_path / "inventory.yml").write_text("all: {hosts: {pi: {ansible_host: 127.0.0.1}}}\n")
    (tmp_path / "bundle").mkdir()
    write_bundle(tmp_path / "bundle")
    (tmp_path / "model.keras").touch()
    for name in ("a/0", "a/1", "a/2", "b/3", "b/4", "b/5"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / f"{name}.ppm").write_bytes(b"P6 2 2 255\n" + name.encode() * 4)
    yield tmp_path
    if (tmp_path / "workspace" / "fleet").exists():  # what `fleet up` started
        subprocess.run(
            [sys.executable, "-m", "toolkit", "fleet", "down"], cwd=tmp_path, check=True, capture_output=True
        )


def run(place: Path, verb: str, blocked: set[str]) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(blocked=blocked, argv=verb.split())
    return subprocess.run([sys.executable, "-c", script], cwd=place, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", VERBS)
def test_bare_install_names_the_extra(place: Path, verb: str) -> None:
    done = run(place, verb, PACKAGES - set(BASE.split()))
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert f"pip install 'edge-vision-toolkit[{VERBS[verb]}]'" in done.stderr


def test_publish_needs_no_extra(place: Path) -> None:
    done = run(place, "publish bundle 127.0.0.1:9/masks:stable --plain-http", PACKAGES - set(BASE.split()))
    assert "Traceback" not in done.stderr
    assert "127.0.0.1:9" in done.stderr


def test_every_verb_is_tried() -> None:
    app = typer.main.get_command(main.app)
    verbs = {name for name in app.commands if name not in {"build", "doctor", "publish", "completion"}}  # type: ignore[attr-defined]
    assert verbs == {verb.split()[0] for verb in VERBS}


@pytest.mark.parametrize(
    "verb", ["convert x", "data inspect .", "fleet up", "inspect model.keras", "report", "train x.toml"]
)
def test_named_extra_is_enough(place: Path, verb: str) -> None:
    done = run(place, verb, PACKAGES - set(EXTRAS[VERBS[verb]].split()))
    assert "pip install" not in done.stderr, done.stderr


def test_doctor_works_on_a_bare_install(place: Path) -> None:
    done = run(place, "doctor", PACKAGES - set(BASE.split()))
    assert done.returncode == 1, done.stderr
    assert "pip install 'edge-vision-toolkit[" in done.stdout
