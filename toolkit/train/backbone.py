"""Run the frozen backbone once per image: with OpenVINO in float32, or with Keras if OpenVINO cannot run it.

OpenVINO computes one image per request and thread, so that the results do not depend on the number of threads.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from toolkit import networks
from toolkit.errors import ConversionError
from toolkit.system.cpu_quota import available_cpus
from toolkit.train.fitting.loop import batched_predict

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-3
"""How far OpenVINO's features may be from Keras' own, as a share of the largest; f32 keeps them within 1e-5."""
_COMPARED_IMAGES = 4


class Backbone(Protocol):
    """What makes features; `name` tells what computes them, with its version."""

    @property
    def name(self) -> str:
        """Part of the key of kept features: another one, other last digits."""

    def features(self, images: np.ndarray) -> np.ndarray:
        """Pooled features f32 [n, channels] of images u8 [n, h, w, 3]."""


class KerasBackbone:
    """The model itself, in batches."""

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self._answer, self._batch_size = batched_predict(model), batch_size
        self.name = "keras"

    def features(self, images: np.ndarray) -> np.ndarray:
        """See `Backbone`."""
        return self._answer(images, self._batch_size)


class OpenVinoBackbone:
    """Return the traced model, compiled on first use."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    @cached_property
    def name(self) -> str:
        """OpenVINO, and which.

        Raises:
            ConversionError: it is not installed.
        """
        try:
            import openvino
        except ImportError as error:
            raise ConversionError(f"OpenVINO is not installed: {error}") from error
        return f"openvino {openvino.__version__}"

    def features(self, images: np.ndarray) -> np.ndarray:
        """See `Backbone`.

        Raises:
            ConversionError: OpenVINO cannot take the model, or gives other features than Keras for the first images.
        """
        if "_requests" not in self.__dict__:
            self._compare(images[:_COMPARED_IMAGES])
        return self._run(images)

    @cached_property
    def _requests(self) -> Any:
        import openvino as ov

        threads = available_cpus()
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
        }
        graph = networks.add_uint8_input(networks.trace(self._model))
        try:
            return ov.AsyncInferQueue(ov.Core().compile_model(graph, "CPU", settings), 2 * threads)
        except RuntimeError as error:
            raise ConversionError(f"OpenVINO cannot compile it: {error}", where=self._model.name) from error

    def _run(self, images: np.ndarray) -> np.ndarray:
        rows = np.empty((len(images), self._model.output_shape[-1]), np.float32)

        def keep(request: Any, index: int) -> None:
            rows[index] = request.get_output_tensor().data[0]

        self._requests.set_callback(keep)
        for index in range(len(images)):
            self._requests.start_async({0: images[index : index + 1]}, index)
        self._requests.wait_all()
        return rows

    def _compare(self, images: np.ndarray) -> None:
        """Check that OpenVINO gives the same features as Keras."""
        ours = self._run(images)
        theirs = self._model(images.astype(np.float32), training=False).numpy()
        off, largest = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
        if not off <= TOLERANCE * largest:
            raise ConversionError(
                f"OpenVINO's features differ from Keras' by up to {off:.2g}, with values up to {largest:.2g}"
            )
