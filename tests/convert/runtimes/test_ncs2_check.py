"""Intel's compiler on real graphs. It is fetched once; where it cannot be had, these say why they did not run."""

from __future__ import annotations

import platform
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.convert import convert_model
from toolkit.convert.bundling import create_bundle
from toolkit.convert.checking import check_bundle
from toolkit.convert.lowering.ops import constant, make_op
from toolkit.convert.runtimes import ncs2_compiler
from toolkit.convert.runtimes.ncs2_check import compile_model, explain, read_header
from toolkit.errors import ConversionError, MachineError
from toolkit.progress import Silent
from toolkit.system import wheel_cache


@pytest.fixture(scope="module")
def compiler() -> Path:
    try:
        return ncs2_compiler.find_compiler(Silent())
    except MachineError as error:
        pytest.skip(str(error))


def saved(folder: Path, kind: str, shape: list[int], *inputs: Any, **attributes: Any) -> Path:
    """An IR of container 10 with that one operation."""
    import openvino as ov
    from openvino import opset1

    image = opset1.parameter(shape, np.float32, name="image")
    node = make_op(1, kind, [image, *(constant(value) for value in inputs)], **attributes)
    node.set_friendly_name("layer")
    ov.serialize(ov.Model([node], [image]), folder / "model.xml", version="IR_V10")
    return folder / "model.xml"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_compile_model_says_what_it_takes_when_it_fits(
    compiler: Path, shared_trained: Any, tmp_path: Path, precision: str
) -> None:
    trained = shared_trained
    ir = convert_model(trained.softmax, precision, "ncs2", trained.workspace, trained.store, Silent())
    blob = tmp_path / "model.blob"
    fit = compile_model(trained.workspace.absolute(ir.path), Silent(), blob)
    assert fit.inputs_bytes == 32 * 32 * 3
    assert fit.outputs_bytes == 2 * 4
    assert fit.blob_bytes == blob.stat().st_size
    assert 1 <= fit.shaves <= 16
    assert 5 <= fit.stages <= 50
    assert fit.memory_bytes > fit.blob_bytes


@pytest.mark.slow
def test_compile_model_gives_the_same_blob_as_by_default(compiler: Path, tmp_path: Path) -> None:
    model = saved(tmp_path, "Relu", [1, 8, 8, 8])
    compile_model(model, Silent(), tmp_path / "quick.blob")
    text = [str(compiler), "-m", str(model), "-o", str(tmp_path / "slow.blob"), "-ip", "U8", "-op", "FP32"]
    subprocess.run(text, env={"LD_LIBRARY_PATH": str(compiler.parent)}, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "quick.blob").read_bytes() == (tmp_path / "slow.blob").read_bytes()


def test_find_compiler_gives_intels_own_bytes_when_unpacked(compiler: Path) -> None:
    with zipfile.ZipFile(wheel_cache.cached_path(ncs2_compiler.WHEEL)) as wheel:
        for path in sorted(compiler.parent.iterdir()):
            assert path.read_bytes() == wheel.read(f"openvino/libs/{path.name}"), path.name


def test_check_unchanged_names_the_file_when_a_bit_is_flipped(compiler: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(compiler.parent, tmp_path / "copy"))
    ncs2_compiler.check_unchanged(folder)
    content = bytearray((folder / "libmyriadPlugin.so").read_bytes())
    content[0x99C53] ^= 1
    (folder / "libmyriadPlugin.so").write_bytes(content)
    (folder / "plugins.xml").unlink()
    with pytest.raises(MachineError) as refused:
        ncs2_compiler.check_unchanged(folder)
    assert [Path(problem.where).name for problem in refused.value.problems] == ["libmyriadPlugin.so", "plugins.xml"]


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "text"),
    [
        (
            "FakeQuantize",
            (-1.0, 1.0, -1.0, 1.0),
            {"levels": 256},
            "layer: the NCS2 does not support FakeQuantize\n.*FP16 only",
        ),
        ("Selu", (1.6, 1.05), {}, "layer: the NCS2 does not support Selu\n.*another layer"),
        ("Acos", (), {}, "layer: the NCS2 does not support Acos"),
    ],
)
def test_compile_model_names_layer_and_type_when_it_does(
    compiler: Path, tmp_path: Path, kind: str, inputs: tuple[float, ...], attributes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConversionError, match=text):
        compile_model(saved(tmp_path, kind, [1, 4, 8, 8], *inputs, **attributes), Silent())


@pytest.mark.slow
def test_check_bundle_says_that_it_fits_when_made_for_the_stick(compiler: Path, shared_trained: Any) -> None:
    trained = shared_trained
    ir = convert_model(trained.softmax, "fp16", "ncs2", trained.workspace, trained.store, Silent())
    bundle = create_bundle(ir, trained.softmax, trained.split, trained.workspace, trained.store, Silent())
    checks = {check.name: check for check in check_bundle(trained.workspace.absolute(bundle.path), Silent())}
    assert checks["ncs2"].outcome == "passed"
    assert checks["ncs2"].message.startswith("fits: a blob of ")
    assert checks["golden"].outcome == "passed"


SOURCE = "[ GENERAL_ERROR ] \n/home/jenkins/agent/workspace/x/"


@pytest.mark.parametrize(
    ("talk", "text"),
    [
        (
            (
                f"{SOURCE}adjust_data_location.cpp:226 [Internal Error]: Memory allocation failed: unable to satisfy "
                "requirements for stage ReduceMean_1/pool with type AvgPool"
            ),
            r"ReduceMean_1/pool: its working memory does not hold this step \(AvgPool\)\n.*smaller input",
        ),
        (
            (
                f'{SOURCE}frontend.cpp:434 Failed to compile layer "conv": {SOURCE}convolution.cpp:407 number of biases must '
                "equal to number of output channels per group"
            ),
            "conv: the NCS2 does not support 3D convolutions",
        ),
        (
            f'{SOURCE}frontend.cpp:434 Failed to compile layer "conv": {SOURCE}x.cpp:7 something else about it',
            "conv: the NCS2 does not support this Convolution: something else about it",
        ),
        (
            (
                f"{SOURCE}stage.cpp:1 compare of type Less_equal: Stage node compare (Less_equal) types check error: "
                "output #0 has type S32, but one of [FP16] is expected"
            ),
            r"compare: the NCS2 does not support LessEqual of these element types\n.*use Greater",
        ),
        ("[ GENERAL_ERROR ]  AssertionFailed: value >= 0-812249088", "too large for the NCS2"),
        (f"{SOURCE}other.cpp:1 something new", "refuses the model: something new"),
        ("", "no reason given"),
    ],
)
def test_explain_turns_its_words_into_advice_when_it_refuses(talk: str, text: str) -> None:
    with pytest.raises(ConversionError, match=text):
        raise explain(talk, {"conv": "Convolution", "compare": "LessEqual"})


def test_read_header_refuses_when_it_is_no_blob(tmp_path: Path) -> None:
    path = tmp_path / "model.blob"
    for content, text in ((b"short", "too short"), (bytes(200), "not a blob")):
        path.write_bytes(content)
        with pytest.raises(MachineError, match=text):
            read_header(path)


def test_find_compiler_says_so_when_the_machine_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MachineError, match="x86-64 only; this is Linux on aarch64"):
        ncs2_compiler.find_compiler(Silent())


def test_find_compiler_says_so_when_libusb_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("toolkit.convert.runtimes.ncs2_compiler.ctypes.CDLL", missing)
    with pytest.raises(MachineError, match=r"apt-get install libusb-1\.0-0"):
        ncs2_compiler.find_compiler(Silent())
