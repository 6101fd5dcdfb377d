"""Which variant of a model is the fastest on a kind of device."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from toolkit.artifacts.bench import VariantChoice, VariantResult
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.bench.choose import choose_variants, make_choice
from toolkit.cli.bench_output import show_choices
from toolkit.errors import Problem
from toolkit.progress import Silent

from ..bundles import sealed

WHOLE = VariantResult(
    bundle="1", name="m-fp32", size_bytes=900, p90_ms=20.0, p90_interval_ms=(19.5, 20.5), accuracy=0.95
)
HALF = dataclasses.replace(WHOLE, bundle="2", name="m-fp16", size_bytes=500)
FAST = dataclasses.replace(
    WHOLE, bundle="3", name="m-int8-litert", size_bytes=300, p90_ms=9.0, p90_interval_ms=(8.9, 9.1)
)


@pytest.mark.parametrize(
    ("variants", "chosen", "reason"),
    [
        ([WHOLE, FAST, HALF], "3", "p90 9.00 ms, against 20.00 ms of m-fp16"),
        ([WHOLE, HALF], "2", "p90 20.00 ms, a tie with m-fp32, and the smaller"),
        ([WHOLE, dataclasses.replace(HALF, p90_ms=20.9, p90_interval_ms=(20.4, 21.0))], "2", "a tie with m-fp32"),
        ([WHOLE, dataclasses.replace(HALF, p90_ms=21.0, p90_interval_ms=(20.6, 21.4))], "1", "against 21.00 ms"),
        (
            [WHOLE, dataclasses.replace(FAST, excluded="breaks accuracy-below-reference")],
            "1",
            "the only eligible variant",
        ),
    ],
    ids=["fastest", "equal", "intervals overlap", "intervals apart", "inaccurate"],
)
def test_choice_is_fastest_and_ties_go_to_the_smaller(variants: list[VariantResult], chosen: str, reason: str) -> None:
    choice = make_choice("model", "Cortex-A76, CPU", "pi-1", variants)
    assert choice is not None
    assert choice.bundle == chosen
    assert reason in choice.reason
    assert sorted(variant.bundle for variant in choice.variants) == sorted(variant.bundle for variant in variants)


def test_choice_is_none_without_an_eligible_form() -> None:
    assert (
        make_choice("model", "kind", "pi-1", [dataclasses.replace(FAST, excluded="the device has no LiteRT")]) is None
    )


def variant_of(setup: Any, name: str, target: str = "cpu") -> Bundle:
    """The tests' bundle as another variant of the same model, with a file more."""
    part = setup.workspace.folder("bundles") / "part"
    shutil.copytree(setup.workspace.absolute(setup.bundle.path), part)
    manifest = json.loads((part / "manifest.json").read_bytes())
    manifest |= {"name": name, "target": target}
    folder = sealed(part, manifest)
    bundle = dataclasses.replace(
        setup.bundle,
        digest=folder.name,
        name=name,
        target=target,
        path=setup.workspace.relative(folder),
        size_bytes=setup.bundle.size_bytes + 1,
    )
    setup.store.put(bundle)
    return bundle


def incompatible(manifest: Mapping[str, Any], device: Device, facts: DeviceFacts) -> Iterator[Problem]:
    assert facts.device == device.name
    if manifest["name"] == "refused":
        yield Problem("its core cannot run it", device.name)


@pytest.mark.slow
def test_one_device_of_a_kind_measures_every_form(
    setup: Any, devices: tuple[Device, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    other, refused = variant_of(setup, "other"), variant_of(setup, "refused")
    gone = dataclasses.replace(devices[2], port=1)
    result = choose_variants(
        [setup.bundle],
        [*devices[:2], gone],
        setup.spec,
        incompatible,
        workspace=setup.workspace,
        store=setup.store,
        progress=Silent(),
        forks=3,
    )
    (choice,) = result.choices
    assert setup.store.all(VariantChoice) == (choice,)
    assert choice.device == devices[0].name
    assert choice.kind.endswith(", CPU")
    assert choice.bundle in {setup.bundle.digest, other.digest}
    by_bundle = {variant.bundle: variant for variant in choice.variants}
    assert by_bundle.keys() == {setup.bundle.digest, other.digest, refused.digest}
    assert (by_bundle[refused.digest].excluded, by_bundle[refused.digest].p90_ms) == ("its core cannot run it", None)
    for variant in choice.variants[:2]:
        assert (variant.excluded, variant.accuracy) == ("", 1.0)
        assert variant.p90_ms is not None
    assert [problem.where for problem in result.problems] == [gone.name]
    assert show_choices(result, as_json=False) == 1
    output = capfd.readouterr().out
    assert ("fastest: " in output, "out: its core cannot run it" in output) == (True, True)


@pytest.mark.slow
def test_form_below_the_accuracy_bound_is_not_eligible(setup: Any, devices: tuple[Device, ...]) -> None:
    folder = setup.workspace.absolute(setup.bundle.path)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["parity"]["reference_accuracy"] = 1.2  # more than this model can reach
    folder = sealed(folder, manifest)
    bundle = dataclasses.replace(setup.bundle, digest=folder.name, path=setup.workspace.relative(folder))
    result = choose_variants(
        [bundle],
        devices[:1],
        setup.spec,
        incompatible,
        workspace=setup.workspace,
        store=setup.store,
        progress=Silent(),
        forks=1,
    )
    assert result.choices == ()
    (problem,) = result.problems
    assert "breaks accuracy-below-reference" in problem.what
