"""The docker command in the docs is the one that the role container_engine installs."""

from __future__ import annotations

import shlex
from pathlib import Path

import jinja2
import pytest
import yaml

DOCS = Path(__file__).parents[2] / "docs/architecture/05-images.md"
MEANT = {
    '"$PWD/bundle:/bundle:ro"': "/opt/toolkit/current:/bundle:ro",
    "$PWD/bundle:/bundle:ro": "/opt/toolkit/current:/bundle:ro",
}


def documented(container_image: str) -> list[str]:
    """The docker line of the docs that names the container image, up to its name."""
    text = DOCS.read_text().replace("\\\n", " ")
    (line,) = (
        line for line in text.splitlines() if line.startswith("    docker run ") and f" {container_image} " in line
    )
    argv = shlex.split(line)
    return [MEANT.get(word, word) for word in argv[: argv.index(container_image)]]


def written(ansible_dir: Path, container_image: str, accelerator: str) -> list[str]:
    """The command of the role's script, up to the image."""
    role = ansible_dir / "roles/container_engine"
    template = jinja2.Environment(autoescape=False, trim_blocks=True).from_string(
        (role / "templates/toolkit-container.j2").read_text()
    )
    named = dict.fromkeys(yaml.safe_load((role / "vars/main.yml").read_text()), "")
    named |= {"container_engine_root": "/opt/toolkit", "container_engine_accelerator": accelerator}
    text = template.render(**named, container_engine_image=container_image, ansible_managed="managed").replace(
        "\\\n", " "
    )
    (line,) = (line for line in text.splitlines() if line.startswith("exec docker run "))
    argv = shlex.split(line)
    return argv[1 : argv.index(container_image)]


@pytest.mark.parametrize(
    ("container_image", "accelerator"), [("edge-vision/runner:dev", "CPU"), ("edge-vision/runner-ncs2:dev", "MYRIAD")]
)
def test_role_runs_a_release_as_the_docs_say(ansible_dir: Path, container_image: str, accelerator: str) -> None:
    assert sorted(written(ansible_dir, container_image, accelerator)) == sorted(documented(container_image))


def test_containers_may_open_usb_devices_for_a_stick_only(ansible_dir: Path) -> None:
    argv = written(ansible_dir, "x:y", "MYRIAD")
    assert argv[argv.index("--device-cgroup-rule") + 1] == "c 189:* rmw"
    assert "--device-cgroup-rule" not in written(ansible_dir, "x:y", "CPU")
