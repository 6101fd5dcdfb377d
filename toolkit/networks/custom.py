"""Custom networks: the body is a .keras file named by an experiment.

[matrix]
networks = ["my_net"]
[networks.my_net]
body = "my-net.keras"       # images [n, h, w, 3] to a feature map [n, h', w', channels]
scaling = "symmetric"       # or "none" (the file scales by itself), "unit", "caffe", "torch"
input_size = 128
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ConfigurationError
from toolkit.experiment.schema import Experiment
from toolkit.networks import keras_files
from toolkit.networks.registry import NETWORKS, Builder, Network, find_network
from toolkit.networks.scaling import SCALINGS
from toolkit.progress import Progress
from toolkit.system.clean_copy import clean_copy

if TYPE_CHECKING:
    import keras


def resolve_network(experiment: Experiment, name: str) -> Network:
    """The row of that name, or the one made of the body that the experiment gives it.

    Raises:
        ConfigurationError: there is neither, the file is missing, or the name cannot be the user's own.
    """
    own = experiment.networks.get(name)
    if own is None or own.body is None or own.input_size is None:
        return find_network(name)
    path, where = experiment.resolve_path(own.body), f"networks.{name}"
    if name in NETWORKS:
        raise ConfigurationError(f"{name} is a network of the toolkit's", where=where, remedy="name yours otherwise")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
        raise ConfigurationError(
            f"{name!r} cannot name a network", where=where, remedy="use small letters, digits and underscores"
        )
    if not path.is_file():
        raise ConfigurationError(f"no such file: {path}", where=f"{where}.body")
    return Network(
        name=name,
        title=name,
        build=_loads(path, where),
        input_size=own.input_size,
        smallest=1,
        scaling=SCALINGS[own.scaling or "none"],
        weights_from=path.name,
        body=path,
    )


def _loads(path: Path, where: str) -> Builder:
    """A builder that reads the file, weights and all, with no code of its own run."""

    def build(size: tuple[int, int], *, pretrained: bool, progress: Progress) -> keras.Model:
        del pretrained
        progress.log(f"reading the body {path.name}")
        try:
            with clean_copy(path) as copy:
                body = keras_files.load_model(copy)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(f"cannot be read as a Keras model: {error}", where=f"{where}.body") from error
        _check(body, size, where)
        body.trainable = True
        return body

    return build


def _check(body: keras.Model, size: tuple[int, int], where: str) -> None:
    taken, shape_out = body.input_shape, body.output_shape
    if not isinstance(taken, tuple) or len(taken) != 4 or taken[3] != 3:
        raise ConfigurationError(f"takes {taken}, not RGB images [n, h, w, 3]", where=f"{where}.body")
    if not isinstance(shape_out, tuple) or len(shape_out) != 4:
        raise ConfigurationError(
            f"gives {shape_out}, not a feature map [n, h, w, channels]",
            where=f"{where}.body",
            remedy="save the model without its pooling and classifier",
        )
    if any(own not in {None, expected} for own, expected in zip(taken[1:3], size, strict=True)):
        raise ConfigurationError(
            f"the body takes images of {taken[1]} x {taken[2]} pixels only", where=f"{where}.input_size"
        )
