"""Import many small models with every usual tail, and hold the bundles' graphs against the files' own runtimes.

    python benchmarks/imports.py [--count 104] [--seed 1]

Each model is random: format, opset, layout, scaling, tail. What it should answer is computed here, by ONNX Runtime, Keras or
TensorFlow Lite and by what its tail means, with none of the toolkit's code. Files of Keras 2 are written, and answered, by that
Keras itself, in the interpreter of the MKL build (`just setup-mkl`). A model may be refused or asked about; one that is accepted
and answers otherwise is an error, and ends the run with 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np

from toolkit.convert import ImportOptions, parity
from toolkit.convert.imported.importer import import_model
from toolkit.convert.reference import ReferenceModel, test_images
from toolkit.errors import ToolkitError
from toolkit.networks.tf_runtime import start_tensorflow
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

Answer = Callable[[np.ndarray], np.ndarray]
"""From u8 [n,H,W,3] RGB images to what the file's own runtime returns, f32 [n, classes]."""

SIZE = 16
SCALINGS = {"none": (0.0, 1.0), "unit": (0.0, 255.0), "symmetric": (127.5, 127.5), "100/50": (100.0, 50.0)}
KERAS_2 = Path(__file__).parents[1] / ".venv-mkl/bin/python"
IR_OF_OPSET = {20: 9, 21: 10, 22: 10, 23: 11, 24: 12}
"""The first version of the file format that has these opsets; 8 has the earlier ones."""
TOLERANCE, INT8_TOLERANCE = 1e-3, 5e-2
MEANS = {
    **dict.fromkeys(("softmax", "clip", "mean", "gather", "exp", "dequantize", "reshape"), "probabilities"),
    **dict.fromkeys(("logits", "log", "identity"), "logits"),
    **dict.fromkeys(("sigmoids", "percent", "subset"), "unclear"),
}
"""What each tail's numbers are; the unclear ones may only be accepted if they are probabilities all the same."""
IN_KERAS = {"softmax", "clip", "mean", "gather", "exp", "reshape", "logits", "log", "sigmoids", "percent"}
IN_KERAS_2 = {"softmax", "mean", "reshape", "logits", "sigmoids"}
"""The tails that a file of Keras can have; a softmax stands for the others."""


def onnx_model(path: Path, random: np.random.Generator, tail: str) -> tuple[Answer, str, str]:
    """An ONNX file of a random opset, its answers, its scaling and a description."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    opset, classes, scaling = int(random.integers(9, 25)), int(random.integers(3, 8)), str(random.choice([*SCALINGS]))
    nhwc = bool(random.random() < 0.3)
    shape: list[str | int | None] = ["N", SIZE, SIZE, 3] if nhwc else ["N", 3, SIZE, SIZE]
    spread = 4.0 / (255 / SCALINGS[scaling][1])
    arrays: dict[str, np.ndarray] = {
        "kernel": random.normal(0, 0.4, (6, 3, 3, 3)),
        "matrix": random.normal(0, 1, (6, classes)) * spread * 4,
        "order": random.permutation(classes).astype(np.int64),
        "few": np.arange(classes - 1, dtype=np.int64),
        "hundred": np.array(100, np.float32),
        "two": np.array(2, np.float32),
        "step": np.array(1 / 256, np.float32),
        "zero": np.array(0, np.uint8),
        "low": np.array(1e-7, np.float32),
        "one": np.array(1, np.float32),
        "shape": np.array([-1, classes, 1, 1], np.int64),
    }
    node = helper.make_node
    nodes = (
        [node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])]
        if nhwc
        else [node("Identity", ["image"], ["planes"])]
    )
    nodes += [
        node("Conv", ["planes", "kernel"], ["conv"]),
        node("Relu", ["conv"], ["relu"]),
        node("GlobalAveragePool", ["relu"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("MatMul", ["flat", "matrix"], ["scores"]),
        node("Softmax", ["scores"], ["p"], axis=1),
    ]
    axes: dict[str, Any] = {"axes": [1]} if opset < 13 else {}
    arrays["axes"] = np.array([1], np.int64)
    clip = node("Clip", ["p"], ["out"], min=1e-7, max=1.0) if opset < 11 else node("Clip", ["p", "low", "one"], ["out"])
    tails = {
        "softmax": [node("Identity", ["p"], ["out"])],
        "clip": [clip],
        "mean": [
            node("Mul", ["scores", "two"], ["s2"]),
            node("Softmax", ["s2"], ["p2"], axis=1),
            node("Add", ["p", "p2"], ["both"]),
            node("Div", ["both", "two"], ["out"]),
        ],
        "gather": [node("Gather", ["p", "order"], ["out"], axis=1)],
        "exp": [
            node("Exp", ["scores"], ["e"]),
            node("ReduceSum", ["e", *([] if axes else ["axes"])], ["sum"], keepdims=1, **axes),
            node("Div", ["e", "sum"], ["out"]),
        ],
        "dequantize": [
            node("QuantizeLinear", ["p", "step", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "step", "zero"], ["out"]),
        ]
        if opset >= 10
        else [node("Identity", ["p"], ["out"])],
        "reshape": [node("Reshape", ["p", "shape"], ["out"])],
        "logits": [node("Identity", ["scores"], ["out"])],
        "log": [node("Log", ["p"], ["out"])],
        "identity": [node("Add", ["scores", "one"], ["out"])],
        "sigmoids": [node("Sigmoid", ["scores"], ["out"])],
        "percent": [node("Mul", ["p", "hundred"], ["out"])],
        "subset": [node("Gather", ["p", "few"], ["out"], axis=1)],
    }
    nodes += tails[tail]
    used = {name for each in nodes for name in each.input}
    stored = [
        numpy_helper.from_array(value.astype(np.float32) if value.dtype == np.float64 else value, name)
        for name, value in arrays.items()
        if name in used
    ]
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        stored,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_OF_OPSET.get(opset, 8)),
        path,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def answer(images: np.ndarray) -> np.ndarray:
        values = scaled_by(scaling, images)
        taken = values if nhwc else np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        return np.concatenate([session.run(None, {"image": row[np.newaxis]})[0].reshape(1, -1) for row in taken])

    return answer, scaling, f"opset {opset}"


def keras_model(path: Path, random: np.random.Generator, tail: str) -> tuple[Answer, str, str]:
    """A .keras or .h5 file or a SavedModel or a TFLite file, float or int8."""
    tf = start_tensorflow()
    import keras

    layers, scaling, classes = keras.layers, str(random.choice([*SCALINGS])), int(random.integers(3, 8))
    keras.utils.set_random_seed(int(random.integers(1_000_000)))
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(image))
    scores = layers.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5))(x)
    p = layers.Softmax()(scores)
    tails = {
        "softmax": lambda: p,
        "clip": lambda: keras.ops.clip(p, 1e-7, 1.0),
        "mean": lambda: layers.Average()([p, layers.Softmax()(scores * 2)]),
        "gather": lambda: keras.ops.take(p, random.permutation(classes).tolist(), axis=1),
        "exp": lambda: keras.ops.exp(scores) / keras.ops.sum(keras.ops.exp(scores), axis=1, keepdims=True),
        "reshape": lambda: layers.Flatten()(layers.Reshape((classes, 1))(p)),
        "logits": lambda: scores,
        "log": lambda: keras.ops.log(p),
        "sigmoids": lambda: keras.ops.sigmoid(scores),
        "percent": lambda: p * 100.0,
    }
    model = keras.Model(image, tails[tail]())

    def scaled(images: np.ndarray) -> np.ndarray:
        return scaled_by(scaling, images)

    if path.suffix in {".keras", ".h5"}:
        model.save(path)
    elif path.suffix == "":
        tf.saved_model.save(model, str(path))
    else:
        return tflite_model(path, model, scaled, random, int8=path.stem.endswith("int8")), scaling, path.suffix
    return lambda images: np.asarray(model(scaled(images))), scaling, path.suffix or "SavedModel"


def keras_2_model(path: Path, random: np.random.Generator, tail: str) -> tuple[Answer, str, str]:
    """A .keras or .h5 file of Keras 2, and its answers by that Keras."""
    scaling, seed = str(random.choice([*SCALINGS])), int(random.integers(1_000_000))

    def answer(images: np.ndarray) -> np.ndarray:
        np.save(path.parent / "in.npy", scaled_by(scaling, images))
        argv = [str(KERAS_2), __file__, "--write-keras-2", str(path), tail, str(seed)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return np.asarray(np.load(path.parent / "out.npy"))

    return answer, scaling, f"Keras 2, {path.suffix}"


def write_keras_2(path: Path, tail: str, seed: int) -> None:
    """Write such a file, and what it answers to in.npy beside it as out.npy; runs in the interpreter with Keras 2."""
    start_tensorflow()
    import keras

    layers, classes = keras.layers, 3 + seed % 5
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3)(image))
    x = layers.GlobalAveragePooling2D()(layers.SeparableConv2D(6, 3, activation="relu")(x))
    scores = layers.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5))(x)
    p = layers.Softmax()(scores)
    tails = {
        "softmax": lambda: p,
        "mean": lambda: layers.Average()([p, layers.Softmax()(layers.Dense(classes)(x))]),
        "reshape": lambda: layers.Flatten()(layers.Reshape((classes, 1))(p)),
        "logits": lambda: scores,
        "sigmoids": lambda: layers.Activation("sigmoid")(scores),
    }
    model = keras.Model(image, tails[tail]())
    if seed % 2:  # a model inside a model, as Teachable Machine has them
        model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), model])
    model.save(path)
    np.save(path.parent / "out.npy", np.asarray(model(np.load(path.parent / "in.npy"), training=False)))


def scaled_by(scaling: str, images: np.ndarray) -> np.ndarray:
    """u8 pixels as the model takes them, f32."""
    mean, std = SCALINGS[scaling]
    return (images.astype(np.float32) - np.float32(mean)) / np.float32(std)


def tflite_model(
    path: Path, model: Any, scaled: Callable[[np.ndarray], np.ndarray], random: np.random.Generator, *, int8: bool
) -> Answer:
    """The same as a TFLite file, with integers in and out where `int8`."""
    tf = start_tensorflow()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if int8:
        samples = random.integers(0, 256, (16, 1, SIZE, SIZE, 3)).astype(np.uint8)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([scaled(sample)] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (taken,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(images: np.ndarray) -> np.ndarray:
        rows = []
        for values in scaled(images):
            scale, zero = taken["quantization"]
            steps = np.clip(np.round(values / scale + zero), -128, 127).astype(np.int8) if int8 else values
            interpreter.set_tensor(taken["index"], steps[np.newaxis])
            interpreter.invoke()
            row = interpreter.get_tensor(out["index"]).astype(np.float32)
            rows.append((row - out["quantization"][1]) * out["quantization"][0] if int8 else row)
        return np.concatenate(rows)

    return answer


def outcome(folder: Path, number: int, seed: int) -> tuple[str, str]:
    """Whether one random model was "right", "refused" or "WRONG", and what it is."""
    random = np.random.default_rng((seed, number))
    tail = [*MEANS][number % len(MEANS)]
    make: Callable[..., tuple[Answer, str, str]] = onnx_model
    name = f"m{number}.onnx"
    if number % 3 == 2:
        make, name = keras_model, f"m{number}" + [".keras", ".h5", "", ".tflite", "-int8.tflite"][number // 3 % 5]
        tail = tail if tail in IN_KERAS else "softmax"
    elif number % 12 == 1 and KERAS_2.exists():
        make, name = keras_2_model, f"m{number}" + [".keras", ".h5"][number // 12 % 2]
        tail = tail if tail in IN_KERAS_2 else "softmax"
    answer, scaling, described = make(folder / name, random, tail)
    images = random.integers(0, 256, (8, SIZE, SIZE, 3)).astype(np.uint8)
    shades = random.integers(0, 256, (8, 1, 1, 3))
    images = (images * 0.3 + shades * 0.7).astype(np.uint8)
    (folder / f"images{number}").mkdir()
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"images{number}" / f"{index}.png"), image[..., ::-1])
    own = answer(images)
    (folder / "labels.txt").write_text("".join(f"c{index}\n" for index in range(own.shape[1])))
    what = f"{name} ({described}), {tail}, --scaling {scaling}"
    options = ImportOptions(labels=folder / "labels.txt", images=folder / f"images{number}", scaling=scaling)
    workspace = Workspace(folder / "workspace")
    try:
        with Store(workspace.database) as store:
            model = import_model(folder / name, options, workspace, store, Silent())
            ours = ours_of(model, workspace, store)
    except ToolkitError as error:
        return "refused", f"{what}: {error.problems[0].what}"
    expected = own
    if MEANS[tail] == "logits":
        raised = np.exp(own - own.max(axis=1, keepdims=True))
        expected = raised / raised.sum(axis=1, keepdims=True)
    elif MEANS[tail] == "unclear" and np.abs(own.sum(axis=1) - 1).max() > 1e-3:
        return "WRONG", f"{what}: accepted, but its numbers are neither logits nor probabilities"
    distance = float(np.abs(ours - expected).max())
    limit = INT8_TOLERANCE if "int8" in name or tail == "dequantize" else TOLERANCE
    return ("right" if distance <= limit else "WRONG"), f"{what}: {distance:.1e} from its own runtime"


def ours_of(model: Any, workspace: Workspace, store: Store) -> np.ndarray:
    """What the graph that bundles are made of answers to the images, in the order of their file names."""
    from toolkit.convert.conversion import split_of

    test = test_images(model, split_of(model, store), workspace)
    answers = parity.predict(ReferenceModel(model, workspace, Silent()).graph, [test.pixels])
    order = np.argsort([int(image.path.stem) for image in test.images])
    return answers[order]


def main() -> int:
    """Run the check and print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=104)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-keras-2", nargs=3, metavar=("FILE", "TAIL", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write_keras_2:
        file, tail, seed = options.write_keras_2
        write_keras_2(Path(file), tail, int(seed))
        return 0
    if not KERAS_2.exists():
        print(f"without files of Keras 2: {KERAS_2} is missing (`just setup-mkl`)", file=sys.stderr)
    counts: Counter[str] = Counter()
    for number in range(options.count):
        with tempfile.TemporaryDirectory() as folder:
            kind, text = outcome(Path(folder), number, options.seed)
        counts[kind] += 1
        print(f"{kind:8} {text}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return int(counts["WRONG"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
