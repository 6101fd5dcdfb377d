from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from toolkit import networks
from toolkit.errors import ConversionError
from toolkit.experiment.load import load_experiment
from toolkit.networks import NETWORKS
from toolkit.progress import Progress, Silent
from toolkit.train.backbone import KerasBackbone, OpenVinoBackbone
from toolkit.train.features import frozen_features
from toolkit.train.fitting.loop import Examples
from toolkit.train.trial_context import load_subsets, prepare_trial, starting_model
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    from conftest import Bench

pytestmark = pytest.mark.slow

SMALLEST = {"mobilenet": 32, "mobilenet_v3_small": 32, "efficientnet_lite0": 32, "vgg16": 32, "inception_v3": 75}


def frozen(name: str) -> Any:
    networks.start_tensorflow()
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    size, head = (SMALLEST[name],) * 2, networks.find_head("softmax", 2)
    row = networks.find_network(name)
    return networks.features_part(
        networks.assemble(row, head, size=size, classes=2, hidden=(), weights="none", progress=Silent())
    )


def build_untraceable(size: tuple[int, int], *, pretrained: bool, progress: Progress) -> Any:
    """A body that calls back into Python, which no graph can."""
    tf = networks.start_tensorflow()
    import keras

    class Calling(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, x: Any) -> Any:
            doubled = tf.numpy_function(lambda values: 2 * values, [x], tf.float32)
            return tf.ensure_shape(doubled, x.shape)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    images = keras.Input((*size, 3))
    return keras.Model(images, Calling()(keras.layers.Conv2D(4, 3, 2)(images)))


def features(bench: Bench, workspace: Workspace) -> tuple[dict[str, Examples], list[str], Any]:
    """Of every part, what was said, and what Keras says of the training part."""
    own, progress = load_experiment(bench.file), Silent()
    job = prepare_trial(own, next(own.trials()), bench.split(workspace), workspace, progress)
    model, parts = starting_model(job, None), load_subsets(job)
    made = frozen_features(job, model, parts)
    images = parts["train"].examples.inputs
    return made, progress.messages, KerasBackbone(networks.features_part(model), 4).features(images)


@pytest.mark.parametrize("name", SMALLEST)
def test_openvino_features_equal_keras_when_network_is_listed(name: str) -> None:
    model = frozen(name)
    images = np.random.default_rng(0).integers(0, 256, (5, *model.input_shape[1:]), dtype=np.uint8)
    made, expected = OpenVinoBackbone(model).features(images), KerasBackbone(model, 2).features(images)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_openvino_is_bit_exact_when_chunks_differ() -> None:
    model = frozen("mobilenet")
    images = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    whole = OpenVinoBackbone(model).features(images)
    other = OpenVinoBackbone(model)
    again = np.concatenate([other.features(images[:2]), other.features(images[2:])])
    np.testing.assert_array_equal(again, whole)


def test_openvino_refuses_when_its_features_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    model = frozen("mobilenet")
    monkeypatch.setattr(OpenVinoBackbone, "_run", lambda self, images: np.ones((len(images), 1024), np.float32))
    with pytest.raises(ConversionError, match="OpenVINO's features differ from Keras'"):
        OpenVinoBackbone(model).features(np.zeros((4, 32, 32, 3), np.uint8))


def test_frozen_features_use_keras_when_openvino_cannot(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(NETWORKS["tiny"]), "build", property(lambda _: build_untraceable), raising=False)
    made, lines, expected = features(bench, workspace)
    np.testing.assert_array_equal(made["train"].inputs, expected)
    assert any("the backbone runs through Keras, which is slower" in line for line in lines)


def test_frozen_features_use_openvino_when_body_is_a_user_file(bench: Bench, workspace: Workspace) -> None:
    networks.start_tensorflow()
    NETWORKS["tiny"].build((32, 32), pretrained=False, progress=Silent()).save(bench.root / "mine.keras")
    bench.change('networks = ["tiny"]', 'networks = ["mine"]')
    bench.change("[train]", '[networks.mine]\nbody = "mine.keras"\nscaling = "unit"\ninput_size = 32\n[train]')
    made, lines, expected = features(bench, workspace)
    np.testing.assert_allclose(made["train"].inputs, expected, atol=1e-5)
    assert not any("Keras" in line for line in lines)


def test_frozen_features_are_remade_when_a_file_is_damaged(bench: Bench, workspace: Workspace) -> None:
    before, *_ = features(bench, workspace)
    for path in workspace.folder("cache", "features").glob("*.npy"):
        content = bytearray(path.read_bytes())
        content[200] ^= 1
        path.unlink()
        path.write_bytes(content)
    after, lines, _ = features(bench, workspace)
    np.testing.assert_array_equal(before["train"].inputs, after["train"].inputs)
    assert sum("is damaged; creating it again" in line for line in lines) == 3
