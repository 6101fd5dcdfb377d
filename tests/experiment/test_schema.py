from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import ConfigurationError, ExitCode
from toolkit.experiment.load import load_experiment

MODELS = Path(__file__).parents[2] / "models"
WHOLE = """
name = "masks"
[data]
source = "synthetic-masks"
[matrix]
networks = ["mobilenet", "vgg16"]
heads = ["sigmoid", "softmax"]
[[stages]]
name = "top"
epochs = 3
[[stages]]
name = "fine-tune"
learning_rate = 1e-5
[networks.vgg16]
weights = "weights/vgg16.h5"
input_size = 64
[networks.vgg16.stages.top]
epochs = 9
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_experiment(write(folder, text))
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    return [f"{problem.where.rpartition(': ')[2]} | {problem.what}" for problem in caught.value.problems]


def test_load_gives_every_trial_when_the_file_is_whole(tmp_path: Path) -> None:
    loaded = load_experiment(write(tmp_path, WHOLE))
    assert [trial.name for trial in loaded.trials()] == [
        "mobilenet-sigmoid",
        "mobilenet-softmax",
        "vgg16-sigmoid",
        "vgg16-softmax",
    ]
    assert loaded.resolve_path("x") == tmp_path / "x"


def test_trial_takes_the_override_when_the_network_has_one(tmp_path: Path) -> None:
    loaded = load_experiment(write(tmp_path, WHOLE))
    plain, special = loaded.trial("mobilenet", "sigmoid"), loaded.trial("vgg16", "sigmoid")
    assert (plain.weights, plain.input_size, plain.stages[0].epochs) == ("imagenet", None, 3)
    assert (special.weights, special.input_size, special.stages[0].epochs) == ("weights/vgg16.h5", 64, 9)
    assert special.stages[1] == plain.stages[1]


def test_load_names_every_problem_when_there_are_several(tmp_path: Path) -> None:
    result = problems_of(
        tmp_path,
        """
name = "Bad Name"
[data]
source = "floders"
color = 3
[matrix]
networks = []
[[stages]]
name = "top"
epochs = 0
[networks.vgg16.stages.top]
epoch = 3
""",
    )
    wheres = {line.partition(" | ")[0] for line in result}
    assert {
        "name",
        "data.source",
        "data.color",
        "matrix.networks",
        "stages.0.epochs",
        "networks.vgg16.stages.top.epoch",
    } <= wheres


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (('source = "synthetic-masks"', 'source = "folders"'), "data", 'source = "folders" needs path'),
        (('name = "fine-tune"', 'name = "top"'), "(whole file)", "a stage is named twice"),
        (("[networks.vgg16]", "[networks.resnet]"), "(whole file)", "matrix.networks does not name it"),
        (("[matrix]", "[data.split]\ntrain = 0.5\n[matrix]"), "data.split", "is 0.8, not 1"),
    ],
)
def test_load_explains_when_parts_contradict(tmp_path: Path, change: tuple[str, str], where: str, what: str) -> None:
    result = problems_of(tmp_path, WHOLE.replace(*change).replace("[networks.vgg16.stages.top]\nepochs = 9\n", ""))
    assert any(line.startswith(f"{where} | ") and what in line for line in result), result


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[data]\nsource = "voc"\npath = "x"\n', "is for images with one label each"),
        ('[data]\nsource = "synthetic-masks"\n[train]\nloss = "sparse-categorical"\n', "needs targets with a share"),
    ],
)
def test_load_refuses_mixup_that_cannot_be(tmp_path: Path, text: str, what: str) -> None:
    (result,) = problems_of(tmp_path, f'name = "x"\n{text}[augment]\nmixup = 0.2\n')
    assert what in result


def test_load_explains_when_it_is_not_toml(tmp_path: Path) -> None:
    (result,) = problems_of(tmp_path, "name = ")
    assert "not valid TOML" in result


def test_load_explains_when_the_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such experiment file"):
        load_experiment(tmp_path / "absent.toml")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.toml")), ids=lambda path: path.stem)
def test_load_accepts_every_experiment_that_ships(path: Path) -> None:
    assert load_experiment(path).name == path.stem
