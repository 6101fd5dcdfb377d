from __future__ import annotations

import numpy as np
import pytest

from toolkit.convert.imported.sanity import chance_error, is_chance, refuse_useless, swapped_labels
from toolkit.errors import DataError

LABELS = ("red", "green", "blue")


@pytest.mark.parametrize(
    ("right", "count", "classes", "expected"),
    [
        (12, 36, 3, True),  # just as often as guesses
        (0, 36, 3, True),
        (15, 36, 3, True),  # guesses are as good once in ten times
        (24, 36, 3, False),
        (2, 3, 3, False),  # of few images nothing follows
        (1, 3, 3, True),
        (3, 12, 1000, False),
        (50, 100, 2, True),
        (65, 100, 2, False),
    ],
)
def test_is_chance_compares_with_guessing(right: int, count: int, classes: int, expected: bool) -> None:
    assert is_chance(right, count, classes) is expected


def test_chance_error_names_the_order_of_labels_that_fits() -> None:
    truth = np.repeat([0, 1, 2], 5)
    error = chance_error(np.eye(3, dtype=np.float32)[truth[::-1]], truth, LABELS, "net.onnx", [("--color BGR", 0.2)])
    assert "right on 5 of 15 labeled images" in error.problems[0].what
    assert "another order: blue, green, red would fit" in error.problems[0].remedy
    assert "--force" in error.problems[0].remedy


def test_chance_error_names_the_option_that_fits() -> None:
    truth = np.repeat([0, 1, 2], 5)
    same = np.tile(np.array([[0.5, 0.3, 0.2]], np.float32), (15, 1))
    error = chance_error(same, truth, LABELS, "net.onnx", [("--scaling unit", 0.9), ("--color BGR", 0.3)])
    assert "with --scaling unit it would be right on 90%" in error.problems[0].remedy
    error = chance_error(same, truth, LABELS, "net.onnx", [("--scaling unit", 0.4)])
    assert error.problems[0].remedy.startswith("check that --labels")


def test_swapped_labels_warns_of_two_that_are_swapped() -> None:
    labels = ("a", "b", "c", "d", "e")
    truth = np.repeat(np.arange(5), 4)
    swapped = np.array([1, 0, 2, 3, 4])[truth]
    hint = swapped_labels(np.eye(5, dtype=np.float32)[swapped], truth, labels)
    assert hint == "the labels seem to be in another order: b, a, c, d, e would fit the images"
    assert swapped_labels(np.eye(5, dtype=np.float32)[truth], truth, labels) == ""


def test_refuse_useless_names_what_is_wrong() -> None:
    with pytest.raises(DataError, match="NaN or infinite"):
        refuse_useless(np.array([[np.nan, 1.0]], np.float32), "net.onnx")
    with pytest.raises(DataError, match="gives the same answer for all 3 images"):
        refuse_useless(np.ones((3, 2), np.float32), "net.onnx")
