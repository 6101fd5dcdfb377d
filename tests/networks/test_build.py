from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import networks
from toolkit.errors import ConfigurationError
from toolkit.networks import keras_files
from toolkit.networks.scaling import CAFFE_MEANS_BGR
from toolkit.progress import Silent


def make(name: str, *, head: str = "softmax", size: int = 32, weights: str | Path = "none") -> Any:
    networks.start_tensorflow()
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    return networks.assemble(
        networks.find_network(name),
        networks.find_head(head, 2),
        size=(size, size),
        classes=2,
        hidden=(8,),
        weights=weights,
        progress=Silent(),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet", lambda x: x / 127.5 - 1),
        ("efficientnet_lite0", lambda x: (x - 127) / 128),
        ("vgg16", lambda x: x[..., ::-1] - np.array(CAFFE_MEANS_BGR)),
    ],
)
def test_assemble_scales_inside_the_model_when_given_raw_pixels(name: str, expected: Any, pixels: np.ndarray) -> None:
    scaled = networks.find_network(name).scaling.layer()(pixels)
    np.testing.assert_allclose(scaled, expected(pixels), atol=2e-5)


@pytest.mark.slow
def test_assemble_answers_alike_when_saved_and_loaded(pixels: np.ndarray, tmp_path: Path) -> None:
    model = make("vgg16", head="sigmoid")
    model.save(tmp_path / "model.keras")
    loaded = keras_files.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(pixels), model(pixels))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert model.output_shape == (None, 1)


def test_parts_compose_to_the_whole_when_run_one_after_the_other(pixels: np.ndarray) -> None:
    model = make("vgg16")
    logits = networks.head_part(model)(networks.features_part(model)(pixels))
    np.testing.assert_allclose(networks.logits_part(model)(pixels), logits, atol=1e-6)
    softmax = networks.start_tensorflow().nn.softmax
    np.testing.assert_allclose(softmax(logits), model(pixels), atol=1e-6)


def test_fine_tuned_variables_leave_out_the_scaling() -> None:
    model = make("vgg16")
    tuned = {id(variable) for variable in networks.fine_tuned_variables(model, networks.find_network("vgg16"))}
    assert len(tuned) == 2 * (13 + 2)
    assert not any(id(variable) in tuned for variable in model.get_layer("scaling").variables)


def test_assemble_refuses_when_the_size_is_too_small() -> None:
    with pytest.raises(ConfigurationError, match="at least 75 pixels, and 64 are set"):
        make("inception_v3", size=64)


@pytest.mark.slow
def test_assemble_gives_the_same_weights_when_seeded_alike() -> None:
    first, second = make("vgg16"), make("vgg16")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
