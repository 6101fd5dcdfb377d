from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from toolkit import networks
from toolkit.errors import ConfigurationError
from toolkit.experiment.load import load_experiment
from toolkit.progress import Silent

if TYPE_CHECKING:
    from conftest import Assembled

OWN = """
name = "own"
[data]
source = "synthetic-masks"
[matrix]
networks = ["my_net"]
[networks.my_net]
body = "my-net.keras"
scaling = "unit"
input_size = 32
[[stages]]
name = "top"
"""


class Own:
    """An experiment with a body of the user's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, *, size: int | None = None, pooled: bool = False) -> None:
        networks.start_tensorflow()
        import keras

        images = keras.Input((size, size, 3))
        x = keras.layers.Conv2D(4, 3, 2, name="mine")(images)
        x = keras.layers.GlobalAveragePooling2D()(x) if pooled else x
        keras.Model(images, x).save(self.folder / "my-net.keras")

    def find(self, *change: str) -> networks.Network:
        path = self.folder / "own.toml"
        path.write_text(OWN.replace(*change) if change else OWN)  # type: ignore[arg-type]
        own = load_experiment(path)
        return networks.resolve_network(own, own.matrix.networks[0])


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


def test_find_for_gives_the_users_body_with_its_weights(own: Own, assembled: Assembled, pixels: np.ndarray) -> None:
    own.save()
    row = own.find()
    model = assembled(row, weights=own.folder / "my-net.keras")
    import keras

    actual = keras.models.load_model(own.folder / "my-net.keras")
    expected = np.asarray(actual(pixels / 255)).mean(axis=(1, 2))
    np.testing.assert_allclose(networks.features_part(model)(pixels), expected, atol=1e-5)
    assert len(networks.fine_tuned_variables(model, row)) == 4


@pytest.mark.parametrize(
    ("saved", "change", "text"),
    [
        ({"pooled": True}, (), r"gives \(None, 4\), not a feature map"),
        ({"size": 48}, (), "takes images of 48 x 48 pixels only"),
        ({}, ('body = "my-net.keras"', 'body = "absent.keras"'), "no such file"),
        ({}, ("my_net", "mobilenet"), "is a network of the toolkit's"),
        ({}, ("my_net", "My-Net"), "cannot name a network"),
        ({}, ("input_size = 32\n", ""), "body needs input_size"),
        ({}, ('body = "my-net.keras"\n', ""), "scaling belongs to a body of your own"),
        ({}, ("input_size = 32", 'input_size = 32\nweights = "none"'), "the body's file holds its weights"),
    ],
)
def test_find_for_says_why_when_the_body_cannot_be_used(
    saved: dict[str, Any], change: tuple[str, ...], text: str, own: Own, assembled: Assembled
) -> None:
    own.save(**saved)
    with pytest.raises(ConfigurationError, match=text):
        assembled(own.find(*change), weights=own.folder / "my-net.keras")


def test_find_for_reads_no_code_when_the_body_holds_some(own: Own, assembled: Assembled) -> None:
    networks.start_tensorflow()
    import keras

    images = keras.Input((None, None, 3))
    hostile = keras.layers.Lambda(lambda x: x)(images)
    keras.Model(images, hostile).save(own.folder / "my-net.keras")
    with pytest.raises(ConfigurationError, match="cannot be read as a Keras model"):
        assembled(own.find(), weights=own.folder / "my-net.keras")


def test_parted_names_the_nearest_when_there_is_no_such_layer() -> None:
    networks.start_tensorflow()
    row = networks.find_network("mobilenet")
    body = row.build((32, 32), pretrained=False, progress=Silent())
    before, after = networks.split_model(body, "conv_dw_13")
    assert after[0].name == "conv_dw_13"
    assert len(before) + len(after) == len(body.layers)
    with pytest.raises(ConfigurationError, match=re.escape("conv_dw_1")):
        networks.split_model(body, "conv_dw_14")
