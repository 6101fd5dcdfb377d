"""`deploy --fastest`: each device gets the variant of the model that was measured as the fastest on its kind."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from toolkit import fleet
from toolkit.artifacts.bench import VariantChoice, VariantResult
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Deployment, Device, DeviceFacts
from toolkit.bundle.model_variants import fastest_variants, trained_model, why_not
from toolkit.bundle.resolve import describe_bundle
from toolkit.cli.main import main
from toolkit.deploy.compatibility import incompatibilities
from toolkit.errors import Problem, UsageError
from toolkit.fleet.facts import device_kind
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

from ..bundles import sealed


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with Store(workspace.database) as store:
        yield store


@pytest.fixture
def variants(bundle: Path, other_bundle: Path, workspace: Workspace, store: Store) -> tuple[Bundle, ...]:
    """Two bundles as variants of one model, in the workspace."""
    made = []
    for number, source in enumerate((bundle, other_bundle)):
        part = workspace.folder("bundles") / "part"
        shutil.copytree(source, part)
        manifest = json.loads((part / "manifest.json").read_bytes())
        manifest |= {"lineage": {"model": "m1", "ir": str(number)}}
        made.append(describe_bundle(sealed(part, manifest), workspace))
        store.put(made[-1])
    return tuple(made)


def measured(variants: tuple[Bundle, ...], device: Device, fastest: int = 1) -> VariantChoice:
    """The choice that `bench --choose` would store, with variants[fastest] as the fastest."""
    with fleet.connect(device) as shell:
        kind = device_kind(device, fleet.probe(device, shell))
    order = sorted(range(len(variants)), key=lambda number: number != fastest)
    results = [
        VariantResult(
            bundle=variants[number].digest,
            name=variants[number].name,
            size_bytes=1,
            p90_ms=1.0 + rank,
            p90_interval_ms=None,
            accuracy=1.0,
        )
        for rank, number in enumerate(order)
    ]
    return VariantChoice(
        digest="c",
        parent="m1",
        kind=kind,
        device=device.name,
        bundle=results[0].bundle,
        reason="p90 1.00 ms, against 2.00 ms of tiny",
        variants=tuple(results),
        at="2026-11-30",
    )


@pytest.mark.slow
def test_deploy_sends_and_status_shows_the_fastest_form(
    devices: tuple[Device, ...],
    variants: tuple[Bundle, ...],
    workspace: Workspace,
    store: Store,
    write_inventory: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TOOLKIT_WORKSPACE", str(workspace.root))
    store.put(measured(variants, devices[0]))
    fleet_options = ("--fleet", "--inventory", str(write_inventory(devices[:2])))

    def run(*argv: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main([*argv, *fleet_options])
        assert caught.value.code == 0
        return capfd.readouterr().out

    named = variants[0].digest
    assert "switch" in run("deploy", named, "--fastest", "--dry-run")
    run("deploy", named, "--fastest", "--health-seconds", "0")
    assert [(each.parent, each.outcome) for each in store.all(Deployment)] == [(variants[1].digest, "deployed")] * 2
    table = run("status")
    assert "against 2.00 ms of tiny" in table
    assert "variant" in table.splitlines()[0].split()
    again = json.loads(run("deploy", named, "--fastest", "--json"))
    assert {each["outcome"] for each in again["devices"]} == {"unchanged"}
    run("deploy", named, "--health-seconds", "0")
    assert "variant" not in run("status").splitlines()[0].split()


def select(
    variants: tuple[Bundle, ...], device: Device, workspace: Workspace, store: Store, fits: Any = incompatibilities
) -> tuple[str, str]:
    """The digest and the reason of the variant that a device is sent."""
    selected = fastest_variants(
        workspace.absolute(variants[0].path),
        [device],
        fits,
        workspace=workspace,
        store=store,
        forks=1,
        progress=Silent(),
    )
    return selected[device.name].folder.name, selected[device.name].why


@pytest.mark.slow
def test_next_fastest_form_where_a_device_cannot_run_the_chosen(
    devices: tuple[Device, ...], variants: tuple[Bundle, ...], workspace: Workspace, store: Store
) -> None:
    def fits(manifest: Mapping[str, Any], device: Device, facts: DeviceFacts) -> list[Problem]:
        return [Problem("no", device.name)] if manifest["name"] == variants[1].name else []

    store.put(measured(variants, devices[0]))
    digest, why = select(variants, devices[0], workspace, store, fits)
    assert (digest, "the fastest one that this device can run" in why) == (variants[0].digest, True)


@pytest.mark.slow
def test_kinds_that_were_not_measured_get_the_named_bundle(
    devices: tuple[Device, ...], variants: tuple[Bundle, ...], workspace: Workspace, store: Store
) -> None:
    with pytest.raises(UsageError, match="not measured on any kind"):
        select(variants, devices[0], workspace, store)
    store.put(dataclasses.replace(measured(variants, devices[0]), kind="Cortex-A76, CPU"))
    digest, why = select(variants, devices[0], workspace, store)
    assert (digest, why.startswith("no variant was measured on ")) == (variants[0].digest, True)


def test_variants_for_litert_need_it_on_the_device(devices: tuple[Device, ...]) -> None:
    facts = DeviceFacts(
        device="pi-1",
        machine="aarch64",
        python="3.11",
        openvino=None,
        accelerators=("CPU",),
        free_bytes=1,
        current=None,
        previous=None,
        releases=(),
    )
    manifest = {"target": "litert", "precision": "int8"}
    assert why_not(manifest, devices[0], facts, incompatibilities) == "the device has no LiteRT"
    with_litert = dataclasses.replace(facts, details={"litert": "2.3.0"})
    assert why_not(manifest, devices[0], with_litert, incompatibilities) == ""


def test_trained_model_of_a_folder_without_manifest_is_unknown(tmp_path: Path) -> None:
    assert trained_model(tmp_path) == ""
