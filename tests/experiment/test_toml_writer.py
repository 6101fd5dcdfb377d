from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import ConfigurationError
from toolkit.experiment import recipe
from toolkit.experiment.load import load_experiment
from toolkit.experiment.schema import Experiment
from toolkit.experiment.toml_writer import experiment_toml
from toolkit.experiment.training_schema import Trial


def completed(plan: Experiment, images: int = 100) -> Trial:
    counts = {"cat": images // 2, "dog": images // 2}
    return recipe.complete(next(plan.trials()), counts, images=images, multi_label=False)


@pytest.mark.parametrize("name", ["pets", "My Pets (2)", "\u00e9t\u00e9"])
def test_load_makes_an_experiment_of_a_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    plan = load_experiment(folder)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", plan.name)
    assert (plan.data.source, plan.data.path) == ("folders", folder.resolve())
    assert load_experiment(plan.origin) == plan


def test_load_makes_an_experiment_of_a_list(tmp_path: Path) -> None:
    path = tmp_path / "pets.csv"
    path.write_text("path,label\n")
    plan = load_experiment(path)
    assert (plan.name, plan.data.source, plan.data.path) == ("pets", "csv", path.resolve())
    assert plan.without_file
    assert load_experiment(plan.origin) == plan


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"])
def test_load_says_what_is_no_experiment(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "pets").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"is an (archive|image), not a folder"):
        load_experiment(tmp_path / "pets")


def test_load_reads_a_pipe_from_its_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    text = 'name = "pets"\n[data]\nsource = "folders"\npath = "pets"\n'
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text,))
    writer.start()
    assert load_experiment(tmp_path / "pipe").name == "pets"
    writer.join()


@pytest.mark.parametrize("images", [20, 5_000, 50_000])
def test_written_file_trains_the_same_trial(images: int, tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    trial = completed(load_experiment(tmp_path / "pets"), images)
    file = tmp_path / "pets.toml"
    file.write_text(experiment_toml(load_experiment(tmp_path / "pets"), trial, tmp_path / "pets"), encoding="utf-8")
    again = completed(load_experiment(file), images)
    assert again.model_copy(update={"reject": None}) == trial


@settings(max_examples=30, deadline=None)
@given(
    weights=st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), st.floats(0.1, 9)),
    smoothing=st.floats(0, 0.9),
    hidden=st.lists(st.integers(1, 999), max_size=3),
)
def test_any_settings_survive_being_written(
    weights: dict[str, float], smoothing: float, hidden: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pets")
    plan = load_experiment(folder)
    changes = {"class_weights": weights, "label_smoothing": smoothing, "hidden": tuple(hidden)}
    trial = completed(plan).model_copy(update=changes)
    (folder / "x.toml").write_text(experiment_toml(plan, trial, folder), encoding="utf-8")
    loaded = load_experiment(folder / "x.toml").train
    assert (loaded.class_weights, loaded.label_smoothing, loaded.hidden) == (weights, smoothing, tuple(hidden))
