from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.convert.imported.file_facts import FileFacts, PixelScaling, facts_of_files, facts_of_metadata, merged
from toolkit.errors import DataError


@pytest.mark.parametrize(
    "properties",
    [
        {"names": "{0: 'red', 1: 'dark green', 2: 'blue'}"},
        {"labels": '["red", "dark green", "blue"]'},
        {"model_info labels": "red,dark green,blue"},
        {"classes": "red\ndark green\nblue"},
    ],
)
def test_facts_of_metadata_reads_labels_in_every_form(properties: dict[str, str]) -> None:
    assert facts_of_metadata(properties).labels == ("red", "dark green", "blue")


def test_facts_of_metadata_reads_scaling_and_color() -> None:
    facts = facts_of_metadata({"Image.NominalPixelRange": "Normalized_0_1", "Image.BitmapPixelFormat": "Bgr8"})
    assert (facts.scaling, facts.color) == (PixelScaling(std=(255.0, 255.0, 255.0)), "BGR")
    facts = facts_of_metadata(
        {"model_info mean_values": "123.675 116.28 103.53", "model_info scale_values": "58.4 57.1 57.4"}
    )
    assert facts.scaling == PixelScaling((123.675, 116.28, 103.53), (58.4, 57.1, 57.4))
    assert facts_of_metadata({"embedded_processing": "True", "mean_values": "1"}).scaling == PixelScaling()


def test_facts_beside_reads_a_preprocessor_config(tmp_path: Path) -> None:
    settings = {
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25],
        "rescale_factor": 1 / 255,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 192},
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "b", "0": "a", "10": "c"}}))
    facts = facts_of_files(tmp_path / "model.onnx")
    assert facts.scaling is not None
    assert facts.scaling.mean == pytest.approx((127.5,) * 3)
    assert facts.scaling.std == pytest.approx((63.75,) * 3)
    assert (facts.size, facts.crop, facts.labels) == ((224, 192), "center", ("a", "b", "c"))
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(DataError, match="is not valid JSON"):
        facts_of_files(tmp_path / "model.onnx")


def test_merged_prefers_the_first() -> None:
    first, second = FileFacts(labels=("a", "b")), FileFacts(labels=("c", "d"), size=(8, 8))
    assert merged(first, second) == FileFacts(labels=("a", "b"), size=(8, 8))


@given(st.dictionaries(st.sampled_from(["names", "labels", "mean_values", "scale_values"]), st.text()))
def test_facts_of_metadata_reads_any_text_without_failing(properties: dict[str, str]) -> None:
    facts_of_metadata(properties)
