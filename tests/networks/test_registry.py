from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.errors import ConfigurationError
from toolkit.networks import NETWORKS, find_network, start_tensorflow
from toolkit.networks.inspection import inspect_model
from toolkit.networks.lite0 import torch_name
from toolkit.progress import Silent

UNREACHABLE = """
from toolkit.errors import MachineError
from toolkit.networks import find_network, start_tensorflow
from toolkit.progress import Silent
start_tensorflow()
try:
    find_network("mobilenet").build((128, 128), pretrained=True, progress=Silent())
except MachineError as error:
    print(error)
"""


def test_find_gives_the_row_when_the_name_is_known() -> None:
    assert find_network("inception_v3").input_size == 299


def test_find_lists_the_known_and_the_nearest_when_the_name() -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_network("MobilNet")
    assert "did you mean mobilenet?" in str(caught.value)
    assert all(name in str(caught.value) for name in NETWORKS)


@pytest.mark.slow
def test_build_names_the_file_and_its_place(tmp_path: Path) -> None:
    environment = os.environ | {
        "HOME": str(tmp_path),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    done = subprocess.run(
        [sys.executable, "-c", UNREACHABLE], capture_output=True, text=True, env=environment, check=True
    )
    assert "~/.keras/models/mobilenet_1_0_128_tf_no_top.h5" in done.stdout
    assert "put it there" in done.stdout
    assert "oneDNN" not in done.stderr


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2", "vgg16"])
def test_rows_have_the_multiply_adds_of_their_body(name: str) -> None:
    start_tensorflow()
    row = find_network(name)
    body = row.build((row.input_size, row.input_size), pretrained=False, progress=Silent())
    assert inspect_model(body).multiply_adds == row.multiply_adds


def test_weights_are_here_when_a_wheel_or_a_download_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert {name for name, row in NETWORKS.items() if row.has_weights(224)} == {"mobilenet_v2", "efficientnet_lite0"}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mobilenet_1_0_160_tf_no_top.h5").touch()
    assert [NETWORKS["mobilenet"].has_weights(edge) for edge in (224, 160)] == [False, True]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stem_conv", "_conv_stem"),
        ("head_bn", "_bn1"),
        ("block3_expand_conv", "_blocks.3._expand_conv"),
        ("block12_depthwise_bn", "_blocks.12._bn1"),
    ],
)
def test_torch_name_finds_the_module_when_given_our_layer(ours: str, theirs: str) -> None:
    assert torch_name(ours) == theirs
