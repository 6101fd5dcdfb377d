"""A body as fine-tuning computes it gives what the body gives, and the same gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit import networks
from toolkit.errors import ConfigurationError
from toolkit.networks import bn_folding, tf_compat
from toolkit.progress import Silent


def make_body() -> Any:
    """Convolutions with and without norms, biases and scales, and a sum; every array random, statistics too."""
    networks.start_tensorflow()
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, 2, padding="same", name="first")(images)
    x = keras.layers.BatchNormalization(scale=False, name="first_bn")(x)
    x = keras.layers.ReLU(6.0)(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    y = keras.layers.BatchNormalization(name="depthwise_bn")(y)
    y = keras.layers.Conv2D(8, 1, activation="relu", name="alone")(y)
    x = keras.layers.Add()([x, y])
    z = keras.layers.Conv2D(8, 1, use_bias=False, name="read_twice")(x)
    normed = keras.layers.BatchNormalization(name="after_two")(z)
    body = keras.Model(images, keras.layers.Add()([z, normed]), name="body")
    draw = np.random.default_rng(0)
    for layer in body.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([draw.uniform(0.5, 1.5, array.shape).astype("f4") for array in layer.get_weights()])
    return body


def answer_and_slopes(model: Any, variables: list[Any]) -> tuple[np.ndarray, list[np.ndarray]]:
    tf = networks.start_tensorflow()
    images = tf.constant(np.random.default_rng(1).normal(size=(2, 16, 16, 3)), tf.float32)
    with tf.GradientTape() as tape:
        answer = tf.cast(model(images, training=False), tf.float32)
        loss = tf.reduce_mean(tf.abs(answer))
    return answer.numpy(), [slope.numpy() for slope in tape.gradient(loss, tf_compat.tensors(variables))]


def far(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    return float(np.abs(one - other).max() / np.abs(one).max())


def test_folded_gives_the_same_answers_and_slopes() -> None:
    body = make_body()
    quick = bn_folding.folded(body)
    assert [layer.name for layer in quick.layers if type(layer).__name__ == "Folded"] == ["first_bn", "depthwise_bn"]
    answer, slopes = answer_and_slopes(body, body.trainable_variables)
    result, found_slopes = answer_and_slopes(quick, body.trainable_variables)
    assert far(answer, result) < 1e-5
    assert max(far(one, other) for one, other in zip(slopes, found_slopes, strict=True)) < 1e-4


def test_folded_gives_nearly_the_same_when_in_bfloat16() -> None:
    body = make_body()
    before = body.to_json()
    answer, slopes = answer_and_slopes(body, body.trainable_variables)
    result, found_slopes = answer_and_slopes(bn_folding.folded(body, "bfloat16"), body.trainable_variables)
    assert 0 < far(answer, result) < 0.05
    for one, other in zip(slopes, found_slopes, strict=True):
        assert np.vdot(one, other) > 0.99 * np.linalg.norm(one) * np.linalg.norm(other)
    assert body.to_json() == before


def test_features_trained_refuses_when_norms_would_follow() -> None:
    model = networks.assemble(
        networks.find_network("mobilenet"),
        networks.find_head("softmax", 2),
        size=(32, 32),
        classes=2,
        hidden=(),
        weights="none",
        progress=Silent(),
    )
    with pytest.raises(ConfigurationError, match="batch_norm"):
        networks.features_trained(model, networks.find_network("mobilenet"), normalizing=True, precision="bfloat16")
