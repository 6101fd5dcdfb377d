"""Batch-norm folding for fine-tuning: norms become part of the preceding convolutions, in float32 or bfloat16.

With fixed statistics, a norm scales and shifts each channel, so it can be part of the convolution:

    norm(conv(x, W) + b) = conv(x, W s) + (b - mean) s + beta,    s = gamma / sqrt(variance + epsilon)

The right side has the same gradients by W, gamma and beta, but scales the small kernel instead of the large feature map,
which would otherwise be read and written several times in each direction.

In bfloat16, convolutions and the operations between them have eight bits of mantissa. Weights, their updates, the arithmetic
of norms, the head, the loss, and the evaluated and saved model stay in float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from toolkit.errors import ConfigurationError
from toolkit.experiment.compute_profiles import ComputePrecision
from toolkit.networks import tf_compat
from toolkit.networks.build import features_part
from toolkit.networks.registry import Network
from toolkit.networks.scaling import LAYER_NAME
from toolkit.networks.tf_runtime import start_tensorflow

if TYPE_CHECKING:
    import keras

_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2D"}


def features_trained(
    model: keras.Model, network: Network, *, normalizing: bool, precision: ComputePrecision
) -> Callable[[Any], Any]:
    """Images to pooled features as fine-tuning sees them; `normalizing`: by the statistics of each batch.

    Raises:
        ConfigurationError: bfloat16 and a batch's own statistics, which need more digits than that has.
    """
    body = model.get_layer(network.name)
    if normalizing and any(type(layer).__name__ == "BatchNormalization" for layer in body.layers):
        if precision != "float32":
            raise ConfigurationError(
                f"{precision} needs batch-norms in inference mode, and here they follow each batch's statistics",
                where="train.precision",
                remedy='set batch_norm = "inference" in the stage "fine-tune", or precision = "float32"',
            )
        backbone = features_part(model)
        return lambda images: backbone(images, training=True)
    quick, scaling, pooling = folded(body, precision), model.get_layer(LAYER_NAME), model.get_layer("features")
    return lambda images: pooling(quick(scaling(images), training=False))


def folded(body: keras.Model, precision: ComputePrecision = "float32") -> keras.Model:
    """Return a model with the weights of `body` that is equivalent in inference mode, up to rounding in `precision`.

    It is `body` itself if there is nothing to do otherwise.
    """
    start_tensorflow()
    import keras

    convolutions = [layer for layer in body.layers if _is_plain_convolution(layer)]
    before = {norm.name: layer for layer in convolutions if (norm := _norm_after(layer)) is not None}
    alone = {layer.name for layer in convolutions} - {layer.name for layer in before.values()}
    if not before and precision == "float32":
        return body

    def copied(layer: Any) -> Any:
        if layer.name in before:
            return _folded_layer()(before[layer.name], layer, precision)
        if layer.name in alone and precision != "float32":
            return _folded_layer()(layer, None, precision)
        if _is_plain_convolution(layer) and layer.name not in alone:
            return keras.layers.Identity(name=layer.name, dtype=precision)
        return layer if layer.weights else type(layer).from_config(layer.get_config() | {"dtype": precision})

    return keras.models.clone_model(body, clone_function=copied)


def _is_plain_convolution(layer: Any) -> bool:
    return type(layer).__name__ in _CONVOLUTIONS and layer.data_format == "channels_last"


def _norm_after(layer: Any) -> Any | None:
    """Return the batch norm that is the only consumer of a convolution's output."""
    readers = tf_compat.readers(layer)
    if len(readers) != 1 or type(readers[0]).__name__ != "BatchNormalization" or layer.activation.__name__ != "linear":
        return None
    axis = readers[0].axis
    return readers[0] if (axis[0] if isinstance(axis, list | tuple) else axis) in {-1, 3} else None


@functools.cache
def _folded_layer() -> Any:
    """Return the class, created once Keras is imported."""
    tf = start_tensorflow()
    import keras

    class Folded(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
        """A convolution and the norm after it, if there is one, computed as one; their weights stay theirs."""

        def __init__(self, convolution: Any, norm: Any | None, precision: ComputePrecision) -> None:
            super().__init__(name=(norm or convolution).name, dtype="float32", autocast=False)
            self.convolution, self.norm, self.precision = convolution, norm, precision

        def call(self, x: Any, training: Any = None, mask: Any = None) -> Any:
            del training, mask  # which Keras gives to what stands in a norm's place
            own, kernel, bias = self.convolution, _kernel(self.convolution), self.convolution.bias
            if self.norm is not None:
                kernel, bias = _with_norm(tf, own, self.norm)
            y = _convolve(tf, own, tf.cast(x, self.precision), tf.cast(kernel, self.precision))
            return own.activation(y if bias is None else tf.nn.bias_add(y, tf.cast(bias, self.precision)))

    return Folded


def _with_norm(tf: Any, convolution: Any, norm: Any) -> tuple[Any, Any]:
    """Return the combined kernel and bias."""
    scale = tf.math.rsqrt(norm.moving_variance + norm.epsilon) * (norm.gamma if norm.scale else 1.0)
    bias = (convolution.bias if convolution.use_bias else 0.0) - norm.moving_mean
    kernel = _kernel(convolution)
    along = (1, 1, *kernel.shape[2:]) if _is_depthwise(convolution) else (1, 1, 1, kernel.shape[3])
    return kernel * tf.reshape(scale, along), bias * scale + (norm.beta if norm.center else 0.0)


def _is_depthwise(layer: Any) -> bool:
    return type(layer).__name__ == "DepthwiseConv2D"


def _kernel(layer: Any) -> Any:
    """A convolution's; Keras 2 calls a depthwise one's by a longer name."""
    return layer.depthwise_kernel if hasattr(layer, "depthwise_kernel") else layer.kernel


def _convolve(tf: Any, layer: Any, x: Any, kernel: Any) -> Any:
    padding, dilations = layer.padding.upper(), list(layer.dilation_rate)
    if _is_depthwise(layer):
        return tf.nn.depthwise_conv2d(x, kernel, [1, *layer.strides, 1], padding, dilations=dilations)
    return tf.nn.conv2d(x, kernel, list(layer.strides), padding, dilations=dilations)
