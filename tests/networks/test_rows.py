from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from toolkit import networks
from toolkit.networks import keras_files
from toolkit.networks.scaling import TORCH_DEVIATIONS, TORCH_MEANS

if TYPE_CHECKING:
    from conftest import Assembled

ROWS = ["mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "resnet50", "densenet121"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_assemble_answers_alike_after_a_file_when_the_row(
    name: str, assembled: Assembled, pixels: np.ndarray, tmp_path: Path
) -> None:
    row = networks.find_network(name)
    assert (row.smallest, row.input_size) == (32, 224)
    model = assembled(row, dropout=0.25)
    model.save(tmp_path / "model.keras")
    loaded = keras_files.load_model(tmp_path / "model.keras")
    answers = model(pixels, training=False)
    np.testing.assert_array_equal(loaded(pixels, training=False), answers)
    assert model.get_layer(name).output.shape[1:3] == (1, 1)
    assert np.isfinite(answers).all()
    assert not {"rescaling", "normalization"} & {layer.name for layer in model.get_layer(name).layers}
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


def test_torch_scaling_is_that_of_imagenets_channels(pixels: np.ndarray) -> None:
    networks.start_tensorflow()
    scaled = networks.find_network("densenet121").scaling.layer()(pixels)
    np.testing.assert_allclose(scaled, (pixels / 255 - TORCH_MEANS) / TORCH_DEVIATIONS, atol=1e-5)
