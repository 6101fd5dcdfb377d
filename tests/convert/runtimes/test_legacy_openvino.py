"""Real old runtimes on their real Python."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from toolkit import compat
from toolkit.convert import convert_model
from toolkit.convert.runtimes import legacy_openvino
from toolkit.data.formats.faces import fetch_faces
from toolkit.errors import MachineError
from toolkit.progress import Silent


@pytest.fixture(scope="session")
def images() -> Any:
    """All 400 real faces of the ORL set, u8 [400,32,32,3]."""
    decoded = [cv2.imdecode(np.frombuffer(face.content, np.uint8), cv2.IMREAD_COLOR) for face in fetch_faces(Silent())]
    return np.stack([cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA) for image in decoded])


def agreement(**changes: Any) -> legacy_openvino.Agreement:
    exact = legacy_openvino.Agreement(
        generation="2021", openvino="2021.4.2", images=1000, max_abs=1e-4, top1_agreement=0.995, tolerance=1e-4
    )
    return replace(exact, **changes)


def test_agreement_passes_at_its_limits() -> None:
    assert (legacy_openvino.TOLERANCE, legacy_openvino.TOP1_AGREEMENT) == (
        {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2},
        0.995,
    )
    assert agreement().passed


@pytest.mark.parametrize(
    "changes",
    [
        {"max_abs": 1.01e-4},
        {"top1_agreement": 0.994},
        {"precision": "bf16"},
        {"failure": "no"},
        {"max_abs": float("nan")},
    ],
)
def test_agreement_fails_when_one_thing_is_beyond(changes: dict[str, Any]) -> None:
    assert not agreement(**changes).passed


@pytest.mark.parametrize(("target", "expected"), [("cpu", []), ("cpu-2022", ["2022"]), ("ncs2", ["2021", "2022"])])
def test_eras_of_names_those_that_read_it_when_asked(target: str, expected: list[str]) -> None:
    assert [
        generation.name for generation in legacy_openvino.legacy_generations(compat.find_target(target))
    ] == expected


@pytest.mark.legacy
@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("target", "generation"), [("cpu-2022", "2022"), ("ncs2", "2021"), ("ncs2", "2022")])
def test_compare_agrees_when_lowered_for_the_era(
    shared_trained: Any, images: Any, head: str, precision: str, target: str, generation: str
) -> None:
    trained = shared_trained
    ir = convert_model(getattr(trained, head), precision, target, trained.workspace, trained.store, Silent())
    result = legacy_openvino.compare(
        trained.workspace.absolute(ir.path), compat.known().generations[generation], precision, images, Silent()
    )
    assert result.passed, result
    assert result.openvino.startswith(generation)
    assert (result.images, result.precision) == (400, "f32")
    assert result.tolerance == {"fp32": 1e-4, "fp16": 1e-2}[precision]


@pytest.mark.legacy
def test_compare_agrees_when_int8(shared_trained: Any, images: Any) -> None:
    trained = shared_trained
    ir = convert_model(trained.softmax, "int8", "cpu-2022", trained.workspace, trained.store, Silent())
    result = legacy_openvino.compare(
        trained.workspace.absolute(ir.path), compat.known().generations["2022"], "int8", images, Silent()
    )
    assert result.passed, result
    assert (result.images, result.tolerance) == (400, 5e-2)


@pytest.mark.legacy
def test_compare_gives_the_eras_own_words_when_it_cannot_read(shared_trained: Any, images: Any) -> None:
    trained = shared_trained
    ir = convert_model(trained.softmax, "fp32", "cpu", trained.workspace, trained.store, Silent())
    result = legacy_openvino.compare(
        trained.workspace.absolute(ir.path), compat.known().generations["2021"], "fp32", images, Silent()
    )
    assert not result.passed
    assert "Cannot find reader" in result.failure


def test_prepare_says_so_when_the_machine_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MachineError, match="Linux on x86-64"):
        legacy_openvino.prepare(compat.known().generations["2021"], Silent())
