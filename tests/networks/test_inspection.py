from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest

from toolkit import networks
from toolkit.cli import inspect as verb
from toolkit.errors import MachineError
from toolkit.networks.inspection import inspect_file, inspect_model
from toolkit.progress import Silent


@pytest.fixture(scope="module")
def mobilenet() -> Any:
    networks.start_tensorflow()
    import keras

    keras.backend.clear_session()
    return networks.assemble(
        networks.find_network("mobilenet"),
        networks.find_head("softmax", 2),
        size=(64, 64),
        classes=2,
        hidden=(8,),
        weights="none",
        progress=Silent(),
    )


def test_inspect_model_agrees_with_the_formula_when_separable(mobilenet: Any) -> None:
    result = inspect_model(mobilenet)
    assert len(result.separations) == 13
    for pair in result.separations:
        assert pair.share == pytest.approx(1 / pair.filters + 1 / prod(pair.kernel), rel=1e-12)
        assert pair.formula == pytest.approx(pair.share)
    plain = sum(pair.plain_multiply_adds - pair.multiply_adds for pair in result.separations) + result.multiply_adds
    assert result.depthwise_saving == pytest.approx(plain / result.multiply_adds)
    assert 8 < (result.depthwise_saving or 0) < 9


def test_inspect_model_counts_by_hand_when_a_layer_is_known(mobilenet: Any) -> None:
    result = inspect_model(mobilenet)
    by_name = {layer.name: layer for layer in result.layers}
    assert by_name["conv1"].multiply_adds == 32 * 32 * 32 * 3 * 3 * 3
    assert by_name["conv_dw_1"].multiply_adds == 32 * 32 * 32 * 3 * 3
    assert by_name["conv_pw_1"].multiply_adds == 32 * 32 * 32 * 64
    assert (by_name["logits"].parameters, by_name["logits"].multiply_adds) == (8 * 2 + 2, 16)
    assert result.parameters == mobilenet.count_params()


@pytest.mark.slow
def test_inspect_prints_each_layer_and_the_saving_when_given(
    mobilenet: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "some.keras"
    mobilenet.save(path)
    assert inspect_file(path) == inspect_model(mobilenet)
    verb.inspect(str(path), as_json=True, every=False, workspace=tmp_path)
    message = json.loads(capsys.readouterr().out)
    assert message["separations"][0]["share"] == pytest.approx(1 / 64 + 1 / 9)
    verb.inspect(str(path), as_json=False, every=False, workspace=tmp_path)
    text = capsys.readouterr().out
    assert "conv_dw_13" in text
    assert "times the multiply-adds" in text
    assert "conv1_bn" not in text


def test_inspect_file_says_so_when_it_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "some.keras").write_bytes(b"no zip")
    with pytest.raises(MachineError, match="cannot be read as a Keras model"):
        inspect_file(tmp_path / "some.keras")
