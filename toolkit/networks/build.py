"""Build models from a network's body and a head, and split them for training.

    image ─ scaling ─ body ─ features (pooled) ─ hidden… ─ logits ─ probabilities
    └────── features_part ──────┘└────── head_part ───────┘
    └──────────────────── logits_part ────────────────────┘

The parts share the model's layers and weights; they also work on a model loaded from a file.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ConfigurationError
from toolkit.networks import tf_compat
from toolkit.networks.heads import Head
from toolkit.networks.registry import Network
from toolkit.networks.tf_runtime import start_tensorflow
from toolkit.networks.weights import fill_from_file
from toolkit.progress import Progress

if TYPE_CHECKING:
    import keras


def assemble(
    network: Network,
    head: Head,
    *,
    size: tuple[int, int],
    classes: int,
    hidden: tuple[int, ...],
    weights: str | Path,
    progress: Progress,
    dropout: float = 0,
) -> keras.Model:
    """A model that takes float32 NHWC RGB images in 0…255 and gives probabilities [n, outputs].

    Args:
        network: The row to build.
        head: What stands on it.
        size: Height and width in pixels.
        classes: How many labels there are.
        hidden: Units of the dense ReLU layers before the output.
        weights: "imagenet", "none", or the path of a weights file for the body (of the network's own file: as it is).
        progress: Told of downloads.
        dropout: The share of units left out at random before the output layer, while it trains.

    Raises:
        ConfigurationError: the size is too small for the network, or the weights file does not fit.
        MachineError: the weights are not here and cannot be fetched.
    """
    start_tensorflow()
    import keras

    body = _body(network, size, weights, progress)
    images = keras.Input((*size, 3), name="image")
    x = body(network.scaling.layer()(images))
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    for number, units in enumerate(hidden):
        x = keras.layers.Dense(units, activation="relu", name=f"hidden{number}")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Dense(head.outputs(classes), name="logits")(x)
    x = keras.layers.Activation(head.activation, name="probabilities")(x)
    return keras.Model(images, x, name=f"{network.name}_{head.name.replace('-', '_')}")


def features_part(model: keras.Model) -> keras.Model:
    """Images [n, h, w, 3] to pooled features [n, channels]."""
    import keras

    return keras.Model(model.input, model.get_layer("features").output, name="features_part")


def head_part(model: keras.Model) -> keras.Model:
    """Pooled features [n, channels] to logits [n, outputs]."""
    import keras

    return keras.Model(model.get_layer("features").output, model.get_layer("logits").output, name="head_part")


def logits_part(model: keras.Model) -> keras.Model:
    """Images to logits."""
    import keras

    return keras.Model(model.input, model.get_layer("logits").output, name="logits_part")


def fine_tuned_variables(model: keras.Model, network: Network, from_layer: str | None = None) -> list[Any]:
    """What fine-tuning changes: the head, and the body from `from_layer` (or the network's own) on. Never the scaling."""
    _, tuned = split_model(model.get_layer(network.name), from_layer or network.unfreezes_from)
    body = [variable for layer in tuned for variable in layer.trainable_variables]
    return [*body, *head_part(model).trainable_variables]


def split_model(body: keras.Model, from_layer: str | None) -> tuple[list[Any], list[Any]]:
    """The body's layers before `from_layer`, and from it on; None: all are from it on.

    Raises:
        ConfigurationError: the body has no such layer; names the nearest.
    """
    layers = body.layers
    if from_layer is None:
        return [], layers
    names = [layer.name for layer in layers]
    if from_layer not in names:
        near = difflib.get_close_matches(from_layer, names, n=3, cutoff=0.3) or names[-3:]
        raise ConfigurationError(
            f"{body.name} has no layer {from_layer!r}",
            where="stages.fine-tune.from_layer",
            remedy=f"near it: {', '.join(near)}; `toolkit inspect MODEL.keras` lists all",
        )
    return layers[: names.index(from_layer)], layers[names.index(from_layer) :]


def _body(network: Network, size: tuple[int, int], weights: str | Path, progress: Progress) -> keras.Model:
    if min(size) < network.smallest:
        raise ConfigurationError(
            f"{network.title} needs images of at least {network.smallest} pixels, and {min(size)} are set",
            where=f"networks.{network.name}.input_size",
        )
    body = network.build(size, pretrained=weights == "imagenet", progress=progress)
    tf_compat.rename(body, network.name)
    if weights == "none":
        _quicken_statistics(body)
    elif weights not in {"imagenet", network.body}:
        fill_from_file(body, Path(weights))
    return body


def _quicken_statistics(body: keras.Model) -> None:
    """Lower the momentum of untrained batch norms, so that they adapt within tens of steps instead of hundreds."""
    import keras

    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
