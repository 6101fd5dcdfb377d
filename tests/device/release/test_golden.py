from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Command = Callable[..., Any]


def test_golden_is_ok_and_computes_in_f32(run: Command, release: Path) -> None:
    answer = run("golden", release)
    assert answer.code == 0
    assert answer.document["max_abs"] < 1e-6
    assert (answer.document["precision"], answer.document["count"], answer.document["top1_agreement"]) == (
        "f32",
        8,
        1.0,
    )


def test_golden_fails_when_answers_are_off(run: Command, release: Path) -> None:
    path = release / "golden" / "outputs.npy"
    np.save(path, 1 - np.load(path))
    answer = run("golden", release)
    assert (answer.code, answer.document["ok"], answer.document["top1_agreement"]) == (1, False, 0.0)
    assert answer.document["max_abs"] > answer.document["tolerance"]


def test_golden_says_so_when_bundle_is_not_for_the_accelerator(run: Command, release: Path) -> None:
    answer = run("golden", release, "--accelerator", "MYRIAD")
    assert answer.code == 1
    assert "no tolerance for MYRIAD" in answer.document["error"]["what"]


def test_golden_ends_with_4_when_the_model_cannot_be_loaded(run: Command, release: Path) -> None:
    (release / "model.xml").write_text("<net")
    answer = run("golden", release)
    assert answer.code == 4
    assert "model.xml" in answer.document["error"]["where"]


@pytest.mark.parametrize("command", ["golden", "predict", "bench"])
def test_device_names_all_unknown_values_when_bundle_is_newer(
    run: Command, release: Path, images: Path, command: str
) -> None:
    manifest = json.loads((release / "manifest.json").read_bytes())
    manifest["output"]["kind"], manifest["input"]["color"] = "boxes", "YUV"
    (release / "manifest.json").write_text(json.dumps(manifest))
    more = {"predict": [images / "000000.png"], "bench": ["--scenario", "offline", "--images", images]}
    answer = run(command, release, *more.get(command, []))
    assert answer.code == 1
    assert 'input.color is "YUV", output.kind is "boxes"' in answer.document["error"]["what"]


def test_golden_takes_the_cpu_and_says_so_when_told_auto(run: Command, release: Path) -> None:
    answer = run("golden", release, "--accelerator", "AUTO")
    assert (answer.code, answer.document["accelerator"], answer.document["precision"]) == (0, "CPU", "f32")
    assert answer.document["notes"][0].startswith(
        "AUTO chose the CPU: this OpenVINO does not drive a Neural Compute Stick"
    )
    assert "note: AUTO chose the CPU" in answer.talk


def test_golden_says_so_when_the_answer_is_no_number(run: Command, release: Path) -> None:
    import openvino
    from openvino import opset8 as ops

    image = ops.parameter([1, 32, 32, 3], np.uint8, name="image")
    mean = ops.reduce_mean(ops.convert(image, np.float32), np.array([1, 2]))
    two = ops.slice(mean, np.array([0]), np.array([2]), np.array([1]), np.array([1]))
    model = openvino.Model([ops.result(ops.log(ops.subtract(two, np.float32(1000))))], [image], "nothing")
    openvino.save_model(model, release / "model.xml", compress_to_fp16=False)
    answer = run("golden", release)
    assert (answer.code, answer.document["error"]["what"]) == (1, "the model returned NaN or infinite values")


def test_golden_fails_when_its_files_are_gone(run: Command, release: Path) -> None:
    shutil.rmtree(release / "golden")
    assert "cannot be read" in run("golden", release).document["error"]["what"]


def test_predict_ranks_and_names_unreadable_images(run: Command, release: Path, images: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes((images / "000000.png").read_bytes()[:200])
    answer = run("predict", release, images / "000000.png", images / "000001.png", broken)
    dark, light, bad = answer.document["predictions"]
    assert answer.code == 1
    assert (dark["ranking"][0]["label"], light["ranking"][0]["label"]) == ("dark", "light")
    assert "broken.png: truncated PNG" in bad["error"]


def test_golden_counts_unknown_as_a_decision(run: Command, release: Path) -> None:
    manifest = json.loads((release / "manifest.json").read_bytes())
    manifest["rejection"] = {"score": "probability", "temperature": 1.0, "threshold": 1.0, "error": 0.02}
    (release / "manifest.json").write_text(json.dumps(manifest))
    outputs = release / "golden" / "outputs.npy"
    np.save(outputs, 1 - np.load(outputs))
    assert run("golden", release).document["top1_agreement"] == 1.0


@pytest.mark.slow
def test_predict_says_unknown_when_the_bundle_has_a_rule(run: Command, release: Path, images: Path) -> None:
    assert "unknown" not in run("predict", release, images / "000000.png").document["predictions"][0]
    manifest = json.loads((release / "manifest.json").read_bytes())
    manifest["rejection"] = {"score": "margin", "temperature": 1.0, "threshold": 1.0, "error": 0.02}
    (release / "manifest.json").write_text(json.dumps(manifest))
    (answer,) = run("predict", release, images / "000000.png").document["predictions"]
    assert answer["unknown"] is True
    assert answer["ranking"]
