from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest

from toolkit.bundle.verify import verify_bundle
from toolkit.convert import ImportOptions, check_bundle, convert_model, find_or_import
from toolkit.convert.bundling import create_bundle
from toolkit.convert.conversion import split_of
from toolkit.convert.imported.options import parse_size
from toolkit.errors import ConfigurationError, ConversionError, DataError, UsageError
from toolkit.networks.tf_runtime import start_tensorflow
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

LABELS = ("red", "green", "blue")
COLORS = {"red": (230, 40, 40), "green": (40, 230, 40), "blue": (40, 40, 230)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labels.txt, class folders in images/, a flat folder, and a small model in each format."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    write_images(folder)
    write_keras_kinds(folder)
    write_onnx(folder / "colors.onnx")
    for name, half in (("colors.xml", False), ("half.xml", True)):
        ov.save_model(ov.convert_model(folder / "colors.onnx"), folder / name, compress_to_fp16=half)
    return folder


def write_images(folder: Path) -> None:
    random = np.random.default_rng(5)
    (folder / "flat").mkdir()
    for label, color in COLORS.items():
        (folder / "images" / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.clip(np.array(color[::-1]) + random.normal(0, 20, (36, 40, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "images" / label / f"{number}.png"), pixels)
            cv2.imwrite(str(folder / "flat" / f"{label}{number}.png"), pixels)


def write_keras_kinds(folder: Path) -> None:
    """The same network as .keras, SavedModel and TFLite, and as TFLite with bytes in and out."""
    tf = start_tensorflow()
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(6, 3, 2, name="stem", kernel_initializer=keras.initializers.RandomNormal(seed=1)),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(stddev=2.0, seed=2)),
        ]
    )
    model.save(folder / "colors.keras")
    tf.saved_model.save(model, str(folder / "colors"))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (folder / "colors.tflite").write_bytes(converter.convert())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    random = np.random.default_rng(0)
    converter.representative_dataset = lambda: ([random.random((1, 32, 32, 3), np.float32)] for _ in range(8))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "bytes.tflite").write_bytes(converter.convert())
    keras.Sequential([keras.Input((32, 32, 3)), layers.Lambda(lambda x: x * 2), layers.Flatten()]).save(
        folder / "code.keras"
    )


def write_onnx(path: Path, **changes: Any) -> Path:
    """Mean colors through a matrix, NCHW: the likeliest class is the strongest channel (in RGB)."""
    import onnx
    from onnx import TensorProto, helper

    kind, batch, channels = (
        changes.get(*key) for key in (("kind", TensorProto.FLOAT), ("batch", "N"), ("channels", 3))
    )
    matrix = onnx.numpy_helper.from_array(8 * np.eye(channels, 3, dtype=np.float32), "matrix")
    first = helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT)
    odd = helper.make_node(changes.get("operation", "Relu"), ["cast"], ["odd"], domain=changes.get("domain", ""))
    rest = [
        helper.make_node("GlobalAveragePool", ["odd"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=1),
    ]
    taken = helper.make_tensor_value_info("image", kind, [batch, channels, *changes.get("space", (32, 32))])
    actual = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in changes.get("outputs", ["shares"])
    ]
    graph = helper.make_graph([first, odd, *rest], "colors", [taken], actual, [matrix])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


@pytest.fixture
def import_file(made: Path, tmp_path: Path) -> Callable[..., Any]:
    """bring(file, precision, target, words…): the manifest of the bundle that is made, and the bundle's folder."""
    workspace = Workspace(tmp_path / "workspace")

    def call(file: str | Path, precision: str = "fp32", target: str = "cpu", **text: Any) -> tuple[Any, Path]:
        predicted = ImportOptions(
            **{"labels": made / "labels.txt", "images": made / "images", "scaling": "unit"} | text
        )
        with Store(workspace.database) as store:
            model = find_or_import(str(made / file), predicted, workspace, store, Silent())
            ir = convert_model(model, precision, target, workspace, store, Silent())
            bundle = create_bundle(ir, model, split_of(model, store), workspace, store, Silent())
        folder = workspace.absolute(bundle.path)
        return verify_bundle(folder), folder

    return call


@pytest.mark.slow
@pytest.mark.parametrize("file", ["colors.keras", "colors", "colors.tflite", "colors.onnx", "colors.xml", "half.xml"])
def test_import_model_makes_a_bundle_that_answers_as_its_own(import_file: Any, made: Path, file: str) -> None:
    manifest, folder = import_file(file, images=made / "flat")
    assert manifest["parity"]["max_abs"] <= 1e-4
    assert manifest["labels"] == list(LABELS)
    assert manifest["input"]["layout"] == "NHWC"
    assert (manifest["lineage"]["stage"], manifest["lineage"]["imported"]["file"]) == ("imported", file)
    assert {check.outcome for check in check_bundle(folder, Silent())} <= {"passed", "skipped"}
    np.testing.assert_allclose(np.load(folder / "golden/outputs.npy").sum(axis=1), 1, atol=1e-5)


def test_import_model_judges_by_the_labels_when_the_images(import_file: Any) -> None:
    manifest, _ = import_file("colors.onnx")
    assert (manifest["parity"]["reference_accuracy"], manifest["lineage"]["note"]) == (1.0, "")
    assert manifest["lineage"]["imported"]["layout"] == "NCHW"


@pytest.mark.slow
def test_import_model_swaps_the_channels_when_the_model_takes(import_file: Any) -> None:
    """Red and blue change places; green stays."""
    with pytest.raises(DataError, match="no better than guessing") as refused:
        import_file("colors.onnx", color="BGR")
    assert "with --color RGB it would be right on 100%" in refused.value.problems[0].remedy
    manifest, _ = import_file("colors.onnx", color="BGR", force="the cameras swap them")
    assert manifest["lineage"]["imported"]["forced"] == "the cameras swap them"
    assert manifest["parity"]["reference_accuracy"] == pytest.approx(1 / 3)
    assert manifest["parity"]["max_abs"] <= 1e-4


def test_import_model_says_who_labeled_when_the_images(import_file: Any, made: Path) -> None:
    manifest, _ = import_file("colors.onnx", images=made / "flat")
    assert manifest["parity"]["reference_accuracy"] == 1.0
    assert "labeled by the model itself" in manifest["lineage"]["note"]


@pytest.mark.slow
def test_import_model_uses_the_scale_of_its_own_when_the_model(import_file: Any, made: Path) -> None:
    manifest, _ = import_file("bytes.tflite", scaling=None, images=made / "flat")
    imported = manifest["lineage"]["imported"]
    assert (imported["dtype"], imported["quantized"], imported["std"]) == ("i8", True, [255.0] * 3)
    assert imported["input_scale"] == pytest.approx(1 / 255, rel=0.02)
    assert manifest["parity"]["max_abs"] <= 5e-2
    with pytest.raises(ConfigurationError, match="is quantized"):
        import_file("bytes.tflite", "fp16", "ncs2", images=made / "flat")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["colors.keras", "colors.onnx"])
def test_import_model_lowers_as_any_other_when_aimed_at_a_stick(import_file: Any, made: Path, file: str) -> None:
    manifest, _ = import_file(file, "fp16", "ncs2", scaling="caffe", images=made / "flat")
    assert manifest["parity"]["max_abs"] <= 1e-2


@pytest.mark.slow
def test_import_model_needs_a_size_when_the_input_takes_any(import_file: Any, tmp_path: Path) -> None:
    free = write_onnx(tmp_path / "free.onnx", space=("H", "W"))
    with pytest.raises(DataError, match="images of any size"):
        import_file(free)
    manifest, _ = import_file(free, size=parse_size("24x20"))
    assert (manifest["input"]["height"], manifest["input"]["width"]) == (24, 20)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"kind": 7}, DataError, "numbers of type i64"),
        ({"outputs": ["shares", "flat"]}, DataError, "has 2 outputs: shares, flat"),
        ({"operation": "Blur", "domain": "mine"}, ConversionError, r"cannot convert the operation mine\.Blur"),
        ({"channels": 1}, DataError, "takes 1 channels"),
    ],
)
def test_import_model_says_what_is_in_the_way_when_the_model(
    import_file: Any, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        import_file(write_onnx(tmp_path / "odd.onnx", **changes))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ({"scaling": None}, UsageError, "does not declare the scaling of its pixels"),
        ({"scaling": "1/2/3"}, UsageError, "is not a scaling"),
        ({"images": None}, UsageError, "test images are needed to verify"),
        ({"output": "logits", "scaling": "0/1e30"}, DataError, "gives the same answer for all 12 images"),
        ({"layout": "NHWC"}, DataError, "takes 32 channels"),
        ({"size": (64, 64)}, DataError, "not images of 64 x 64"),
    ],
)
def test_import_model_refuses_when_the_words_do_not_fit(
    import_file: Any, text: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        import_file("colors.onnx", **text)


@pytest.mark.slow
def test_import_model_refuses_when_scores_are_called(import_file: Any) -> None:
    with pytest.raises(DataError, match="not the probabilities"):
        import_file("colors.keras", output="probabilities", scaling="none")


def test_import_model_names_an_output_of_class_numbers(import_file: Any, tmp_path: Path) -> None:
    import onnx

    file = write_onnx(tmp_path / "argmax.onnx")
    model = onnx.load(file)
    model.graph.node[-1].CopyFrom(onnx.helper.make_node("ArgMax", ["scores"], ["shares"], axis=1))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    onnx.save(model, file)
    with pytest.raises(DataError, match=r"values of type i64, not probabilities[\s\S]*without the final ArgMax"):
        import_file(file)


@pytest.mark.slow
def test_import_model_runs_no_code_when_a_keras_file_holds_some(import_file: Any) -> None:
    with pytest.raises(DataError, match="Lambda layer"):
        import_file("code.keras")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["broken.onnx", "broken.tflite", "broken.keras", "broken/saved_model.pb"])
def test_import_model_names_the_file_when_it_is_damaged(import_file: Any, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"damaged" * 40)
    with pytest.raises(DataError, match=r"broken.*: cannot be read"):
        import_file(file if file.suffix != ".pb" else file.parent)


@pytest.mark.slow
def test_import_model_counts_when_labels_do_not_fit(import_file: Any, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("red\ngreen\n")
    with pytest.raises(DataError, match="2 labels, but the model has 3 outputs"):
        import_file("colors.onnx", labels=labels)
    labels.write_text("red\nred\nblue\n")
    with pytest.raises(ConfigurationError, match="has a label twice: red"):
        import_file("colors.onnx", labels=labels)
    labels.write_text("rot\ngelb\nblau\n")
    with pytest.raises(DataError, match="no such label") as failed:
        import_file("colors.onnx", labels=labels)
    assert len(failed.value.problems) == 3


def test_find_or_import_says_what_is_needed_when_labels(import_file: Any) -> None:
    with pytest.raises(UsageError, match="--labels FILE"):
        import_file("colors.onnx", labels=None)


@pytest.mark.slow
def test_predict_answers_on_a_bundle_when_it_was_brought_in(
    import_file: Any, made: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.cli.main import main

    _, folder = import_file("colors.onnx")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["predict", str(folder), str(made / "flat" / "green1.png"), "--json"])
    (answer,) = json.loads(capfd.readouterr().out)["predictions"]
    assert (int(left.value.code or 0), answer["ranking"][0]["label"]) == (0, "green")
