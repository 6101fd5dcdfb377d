from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from toolkit import networks
from toolkit.errors import ConfigurationError
from toolkit.networks.tf_compat import is_keras_2
from toolkit.networks.weights import fill_from_file


def body(*, filters: int = 4, second: str = "second") -> Any:
    networks.start_tensorflow()
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(filters, 3, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Conv2D(2, 1, name=second),
        ],
        name="body",
    )


def with_top(own: Any) -> Any:
    """As people keep them: the body nested in a model with a classifier."""
    import keras

    images = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(own(images))
    return keras.Model(images, keras.layers.Dense(5, name="old_classes")(pooled))


NAMED = ["given.keras", "given.h5", *(["given.weights.h5"] if not is_keras_2() else [])]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("nested", [False, True])
def test_fill_from_file_fills_every_layer_when_the_names_agree(name: str, nested: bool, tmp_path: Path) -> None:
    actual, expected = body(), body()
    actual.set_weights([np.random.default_rng(1).random(array.shape) for array in actual.get_weights()])
    model = with_top(actual) if nested else actual
    (model.save_weights if name.endswith(".weights.h5") else model.save)(tmp_path / name)
    fill_from_file(expected, tmp_path / name)
    for one, other in zip(actual.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_fill_from_file_says_so_when_the_file_does_not_name(tmp_path: Path) -> None:
    """As Keras 2 writes it."""
    with h5py.File(tmp_path / "given.weights.h5", "w") as file:
        file["_layer_checkpoint_dependencies/conv2d/vars/0"] = np.zeros(3)
    with pytest.raises(ConfigurationError, match="does not name its layers"):
        fill_from_file(body(), tmp_path / "given.weights.h5")


def test_fill_from_file_names_the_layers_when_some_are_missing(tmp_path: Path) -> None:
    body(second="other").save(tmp_path / "given.keras")
    with pytest.raises(ConfigurationError, match="holds 2 of the 3 layers of body; missing: second"):
        fill_from_file(body(), tmp_path / "given.keras")


def test_fill_from_file_names_the_layers_when_shapes_differ(tmp_path: Path) -> None:
    body(filters=5).save(tmp_path / "given.keras")
    with pytest.raises(ConfigurationError, match="the shapes of 3 layers differ: first, norm, second"):
        fill_from_file(body(), tmp_path / "given.keras")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("absent.h5", None, "no such weights file"),
        ("weights.onnx", b"", "not a weights file"),
        ("damaged.h5", b"no HDF5", "cannot be read as weights"),
        ("damaged.keras", b"no zip", "cannot be read as weights"),
    ],
)
def test_fill_from_file_says_what_is_wrong_when_it_is_no_weights(
    name: str, content: bytes | None, text: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=text):
        fill_from_file(body(), tmp_path / name)
