from __future__ import annotations

import numpy as np
import pytest

from toolkit.errors import ConfigurationError
from toolkit.networks import find_head


def test_find_head_says_why_when_a_sigmoid_meets_three_classes() -> None:
    with pytest.raises(ConfigurationError, match="one sigmoid unit tells 2 classes apart, and the data has 3"):
        find_head("sigmoid", 3)


def test_find_head_lists_the_known_when_the_name_is_unknown() -> None:
    with pytest.raises(ConfigurationError, match="sigmoid, softmax"):
        find_head("relu", 2)


def test_targets_have_the_loss_shape_when_made_of_labels() -> None:
    labels = np.array([1, 0])
    np.testing.assert_array_equal(find_head("sigmoid", 2).targets(labels, 2), [[1], [0]])
    np.testing.assert_array_equal(find_head("softmax", 3).targets(labels, 3), [[0, 1, 0], [1, 0, 0]])
