from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import MachineError
from toolkit.experiment.load import load_experiment
from toolkit.train import in_container

EXPERIMENT = """
name = "tiny"
[data]
source = "csv"
path = "lists/all.csv"
[matrix]
networks = ["mobilenet", "vgg16"]
[[stages]]
name = "top"
[networks.mobilenet]
weights = "none"
[networks.vgg16]
weights = "weights/vgg16.h5"
"""


def test_folders_of_names_everything_that_the_experiment_reads(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(EXPERIMENT)
    result = in_container.mounts_for(load_experiment(file))
    assert set(result) == {file, tmp_path / "lists", tmp_path / "lists/all.csv", tmp_path / "weights/vgg16.h5"}


def test_run_in_image_says_how_to_start_engine_when_none_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(MachineError, match="no container engine answers") as caught:
        in_container.run_in_container(["train", "x.toml"], (), tmp_path / "work")
    assert "just engine up" in str(caught.value)


@pytest.mark.engine
def test_run_in_image_says_what_to_build_when_image_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="edge-vision/nothing:dev: no such container image") as caught:
        in_container.run_in_container(
            ["train", "x.toml"], (), tmp_path / "work", container_image="edge-vision/nothing:dev"
        )
    assert "toolkit build train" in str(caught.value)
