"""Export Keras models as OpenVINO graphs, for conversion and for running a frozen backbone.

It works with every Keras: a model is traced as a TensorFlow function.
"""

from __future__ import annotations

import platform
import re
import sys
from typing import TYPE_CHECKING, Any

from toolkit.errors import ConversionError, DataError, Problem, ToolkitError
from toolkit.networks.tf_runtime import start_tensorflow

if TYPE_CHECKING:
    import keras
    import openvino as ov


def trace(model: keras.Model) -> ov.Model:
    """`model` as an OpenVINO graph: f32 [1,H,W,3] in, f32 [1,n] out.

    Raises:
        DataError: it does not take one RGB image, or does not give one row of numbers.
        ConversionError: OpenVINO cannot convert an operation of it.
    """
    shape = _image_shape(model)
    tf = start_tensorflow()
    import openvino as ov

    def forward(image: Any) -> Any:
        return model(image, training=False)

    if sys.version_info >= (3, 13):
        _answer_for_openvino(tf.__version__)
    signature = [tf.TensorSpec((1, *shape), tf.float32, name="image")]
    traced = tf.function(forward, signature, autograph=False).get_concrete_function()
    try:
        graph = ov.convert_model(traced)
    except Exception as error:
        raise _unsaid(str(error), model.name) from error
    return _with_one_output(graph)


# What to use in Keras instead of TensorFlow operations that OpenVINO cannot convert.
_INSTEAD = {
    "Bitcast": "keras.ops.argmax has none; let the network return its scores",
    "Bucketize": "discretize before the network",
    "ResizeArea": 'resize with interpolation="bilinear" or "nearest"',
    "ResizeBicubic": 'resize with interpolation="bilinear" or "nearest"',
    "ScaleAndTranslate": 'resize with interpolation="bilinear" or "nearest"',
    "TensorList": "unroll the recurrent layer (unroll=True)",
}


def _unsaid(talk: str, name: str) -> ToolkitError:
    """Return the converter's error: each unsupported operation, with an alternative."""
    listed = re.findall(r"No conversion rule found for operations: ([\w, ]+)", talk)
    kinds = [
        *(kind for line in listed for kind in line.split(", ")),
        *re.findall(r"^-- (\w+) with a message", talk, re.MULTILINE),
    ]
    if not kinds:
        return ConversionError(f"OpenVINO cannot convert it: {talk}", where=name)
    return ConversionError.from_problems(
        [
            Problem(
                f"OpenVINO cannot convert the TensorFlow operation {kind}",
                name,
                _INSTEAD.get(kind, "use another layer"),
            )
            for kind in dict.fromkeys(kinds)
        ]
    )


def add_uint8_input(graph: ov.Model) -> ov.Model:
    """`graph` (f32 [1,H,W,3] in) with the input u8 NHWC [1,H,W,3], the conversion inside."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(graph)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NHWC"))
    return steps.build()


def _answer_for_openvino(tensorflow: str) -> None:
    """Answer which TensorFlow is installed: OpenVINO 2026.4 asks by exec("del tensorflow"), which fails since PEP 667."""
    from openvino.frontend.tensorflow import utils

    known = {"python_version": platform.python_version(), "tensorflow": tensorflow, "sys_platform": sys.platform}
    utils.get_environment_setup = lambda _framework: dict(known)


def _image_shape(model: keras.Model) -> tuple[int, int, int]:
    shapes, outputs = [tuple(one.shape) for one in model.inputs], [tuple(one.shape) for one in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] != 3:
        remedy = "save a model whose only input is keras.Input((H, W, 3)); for gray images, put Conv2D(1, 1) after it"
        raise DataError(f"takes {shapes}, not one RGB image (None, H, W, 3)", remedy=remedy)
    if None in shapes[0][1:]:
        remedy = "choose one: --input-size HEIGHTxWIDTH, or keras.Input((H, W, 3))"
        raise DataError(f"takes images of any size, {shapes[0]}", remedy=remedy)
    if len(outputs) != 1 or len(outputs[0]) != 2:
        remedy = "save a model with the row of the classes alone, such as keras.Model(model.inputs, model.outputs[0])"
        raise DataError(f"gives {outputs}, not one row of numbers (None, n)", remedy=remedy)
    height, width, channels = shapes[0][1:]
    return height, width, channels


def _with_one_output(graph: ov.Model) -> ov.Model:
    """`graph` without the ends that activations with a gradient of their own (swish) leave in the trace."""
    remaining = graph.output("Identity:0")
    for result in graph.get_results():
        if result.output(0) != remaining:
            graph.remove_result(result)
    return graph
