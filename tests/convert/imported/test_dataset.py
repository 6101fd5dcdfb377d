from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.convert.imported.dataset import read_labels
from toolkit.errors import ConfigurationError, DataError, UsageError


@pytest.mark.parametrize(
    "text",
    [
        "red\ngreen\nblue\n",
        "0 red\n1 green\n2 blue\n",  # as Teachable Machine writes them
        "1: red\n2: green\n3: blue",
        "2 blue\r\n0 red\r\n1 green\r\n",
        "\ufeffred\n\ngreen\nblue",
        '["red", "green", "blue"]',
        '\ufeff {"1": "green", "0": "red", "2": "blue"}',
        '{"blue": 2, "green": 1, "red": 0}',  # class_indices of Keras' generators
        '{"model_type": "vit", "id2label": {"0": "red", "1": "green", "2": "blue"}}',
    ],
)
def test_read_labels_reads_every_usual_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8")
    assert read_labels(path, None) == ("red", "green", "blue")


@pytest.mark.parametrize(
    "text", ['{"1": "red", "2": "green"}', '{"red": 0, "green": 0}', '[["red"]]', '["", "red"]', "{}"]
)
def test_read_labels_refuses_json_without_an_order(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="JSON without labels in an order"):
        read_labels(path, None)


def test_read_labels_keeps_numbers_that_are_no_order(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("7 up\n4 seasons\n")
    assert read_labels(path, None) == ("7 up", "4 seasons")


def test_read_labels_takes_those_of_the_model_itself(tmp_path: Path) -> None:
    assert read_labels(None, ("red", "green")) == ("red", "green")
    with pytest.raises(UsageError, match="needs its labels"):
        read_labels(None, None)
    path = tmp_path / "labels.txt"
    path.write_text("green\nred\n")
    with pytest.raises(DataError, match="in another order than the model itself, which names them red, green"):
        read_labels(path, ("red", "green"))
