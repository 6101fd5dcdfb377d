"""The models of `just bench arm`: networks with random weights in every variant, by the toolkit's own writers.

Weights do not change how many instructions a layer takes. Batch normalization has the statistics of the images, so that
activations keep the scale that quantization expects.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert import described

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SIZES = {"MobileNet": 224, "MobileNetV2": 224, "EfficientNet-Lite0": 224, "InceptionV3": 299}
CLASSES = 1000
_CALIBRATION = 24


def write_variants(network: str, size: int, folder: Path) -> None:
    """Write every variant of a network into `folder`: VARIANT/model.xml or .tflite, input.npy u8 [H, W, 3], VARIANT.npy f32 [classes].

    The last are the answers of this machine: OpenVINO in f32, LiteRT as it is.
    """
    import numpy as np

    from toolkit import compat
    from toolkit.convert import parity, tflite_writer
    from toolkit.convert.int8.quantize import CalibrationData, quantize
    from toolkit.convert.ir_writer import write_ir
    from toolkit.convert.reference import ReferenceModel
    from toolkit.progress import Silent
    from toolkit.workspace import Workspace

    images = _images(size, _CALIBRATION + 1)
    np.save(folder / "input.npy", images[-1])
    file = _save_network(network, size, images[:-1], folder)
    source = ReferenceModel(described(file, size), Workspace(folder / "workspace"), Silent())
    truth = np.zeros(_CALIBRATION, np.int64)
    samples = CalibrationData(images[:-1], images[:-1], truth, "train")
    target = compat.find_target("cpu")

    def quantized(graph: Any) -> Any:
        return quantize(graph, samples, 1.0, Silent())[0]

    paths = {
        f"openvino-{precision}": write_ir(
            source, target, precision, folder / f"openvino-{precision}", Silent(),
            quantized if precision == "int8" else None,
        )
        for precision in ("fp32", "fp16", "int8")
    }  # fmt: skip
    paths["litert-fp32"] = tflite_writer.write_float(source, folder / "litert-fp32")
    paths["litert-int8"], _ = tflite_writer.write_int8(source, samples, 1.0, folder / "litert-int8", Silent())
    for variant, path in paths.items():
        np.save(folder / f"{variant}.npy", parity.predict(path, [images[-1:]])[0])


def _images(size: int, count: int) -> npt.NDArray[np.uint8]:
    """Smooth noise, u8 [count, size, size, 3]."""
    import cv2
    import numpy as np

    chooser = np.random.default_rng(7)
    small = chooser.standard_normal((count, 14, 14, 3)).astype(np.float32)
    smooth = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in small])
    noise = chooser.standard_normal(smooth.shape).astype(np.float32)
    return np.clip(127.5 + 60 * smooth + 10 * noise, 0, 255).astype(np.uint8)


def _save_network(network: str, size: int, images: npt.NDArray[np.uint8], folder: Path) -> Path:
    """The network with scaling inside and 1,000 classes, as a .keras file."""
    from toolkit.networks.tf_runtime import start_tensorflow

    start_tensorflow()
    import keras
    import numpy as np

    from toolkit.networks import lite0
    from toolkit.progress import Silent

    keras.utils.set_random_seed(7)
    inputs = keras.Input((size, size, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    if network == "EfficientNet-Lite0":
        body = lite0.build((size, size), pretrained=False, progress=Silent())
    else:
        body = getattr(keras.applications, network)(weights=None, include_top=False, input_shape=(size, size, 3))
    features = keras.layers.GlobalAveragePooling2D()(body(scaled))
    answer = keras.layers.Dense(CLASSES, activation="softmax", kernel_initializer="he_normal")(features)
    chooser = np.random.default_rng(7)
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            layer.beta.assign(chooser.normal(0.3, 0.3, layer.beta.shape))
    model = keras.Model(inputs, answer)
    model(images.astype(np.float32), training=True)
    file = folder / f"{network}.keras"
    model.save(file)
    return file
