"""Which variants are published together, and by which rules a device refuses one: those of the controller."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit import compat
from toolkit.artifacts.bench import VariantChoice, VariantResult
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Device, DeviceFacts
from toolkit.bundle.resolve import describe_bundle
from toolkit.cli.main import main
from toolkit.deploy.compatibility import incompatibilities, variant_requirements
from toolkit.deploy.registry import release_variants
from toolkit.deploy.registry.channel_statement import StatementOptions, channel_documents
from toolkit.deploy.registry.release_variants import collect_variants
from toolkit.device.release.freshness import parse_statement
from toolkit.device.runtime.variant import parse_variants
from toolkit.errors import UsageError
from toolkit.store import Store
from toolkit.workspace import Workspace

from ...bundles import sealed


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with Store(workspace.database) as store:
        yield store


@pytest.fixture
def make_variant(workspace: Workspace, store: Store) -> Callable[..., Bundle]:
    """make_variant(bundle, **fields of its manifest): a copy in the workspace, of the model m1."""

    def make(source: Path, **fields: object) -> Bundle:
        part = workspace.folder("bundles") / "part"
        shutil.copytree(source, part)
        manifest = json.loads((part / "manifest.json").read_bytes())
        if fields.get("target") == "litert":
            _rename_model(part, manifest)
        made = describe_bundle(sealed(part, {**manifest, "lineage": {"model": "m1", "ir": "i"}, **fields}), workspace)
        store.put(made)
        return made

    return make


def _rename_model(part: Path, manifest: dict[str, Any]) -> None:
    """Make a bundle look like one for LiteRT, which no test runs."""
    (part / "model.bin").unlink()
    (part / "model.xml").rename(part / "model.tflite")
    files = manifest["files"]
    files["model.tflite"] = files.pop("model.xml")
    del files["model.bin"]


def choice(kind: str, *variants: Bundle, excluded: Bundle | None = None) -> VariantChoice:
    """What `bench --choose` stores if the variants are ever slower on this kind."""
    results = [
        VariantResult(
            bundle=each.digest,
            name=each.name,
            size_bytes=each.size_bytes,
            p90_ms=float(rank),
            p90_interval_ms=None,
            accuracy=1.0,
            excluded="breaks accuracy" if each is excluded else "",
        )
        for rank, each in enumerate(variants, 1)
    ]
    return VariantChoice(
        digest=kind,
        parent="m1",
        kind=kind,
        device="pi-1",
        bundle=variants[0].digest,
        reason="p90 1.00 ms, against 2.00 ms",
        variants=tuple(results),
        at="2026-11-30",
    )


def test_collect_variants_names_those_of_every_kind(
    make_variant: Callable[..., Bundle], bundle: Path, other_bundle: Path, workspace: Workspace, store: Store
) -> None:
    default, other = make_variant(bundle), make_variant(other_bundle)
    wrong = make_variant(other_bundle, name="wrong")
    store.put(choice("Cortex-A76, CPU", other, default, wrong, excluded=wrong))
    store.put(choice("Cortex-A72, CPU", default))
    variants = collect_variants(workspace.absolute(default.path), workspace, store)
    assert variants.kinds == {"Cortex-A76, CPU": "other", "Cortex-A72, CPU": "tiny"}
    (release,) = variants.trees
    assert release.parent == other.digest
    table = parse_variants(variants.choice)
    assert table is not None
    assert [each.name for each in table.variants] == ["tiny", "other"]
    own = table.variants[0].release
    assert [releases for releases, _ in table.kinds.values()] == [(release.digest, own), (own,)]


def test_collect_variants_refuses_what_cannot_be_published(
    make_variant: Callable[..., Bundle],
    bundle: Path,
    other_bundle: Path,
    workspace: Workspace,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    default = make_variant(bundle)
    folder = workspace.absolute(default.path)
    with pytest.raises(UsageError, match="not measured on any kind of device"):
        collect_variants(folder, workspace, store)
    unrelated = make_variant(other_bundle, lineage={"model": "m2", "ir": "i"})
    relabeled = make_variant(other_bundle, labels=["light", "dark"])
    gone = dataclasses.replace(default, digest="f" * 64, name="gone")
    store.put(choice("Cortex-A76, CPU", unrelated, relabeled, gone, default))
    with pytest.raises(UsageError) as caught:
        collect_variants(folder, workspace, store)
    problems = [f"{problem.where}: {problem.what}" for problem in caught.value.problems]
    assert problems == [
        f"other ({unrelated.digest[:12]}): is not a variant of the model of tiny",
        f"other ({relabeled.digest[:12]}): is not a variant of the model of tiny",
        "gone (ffffffffffff): was measured on Cortex-A76, CPU and is no longer in this workspace",
    ]
    store.put(choice("Cortex-A76, CPU", make_variant(other_bundle), default))
    monkeypatch.setattr(release_variants, "MAX_VARIANTS", 1)
    with pytest.raises(UsageError, match="2 variants for 1 kinds of devices; at most 1"):
        collect_variants(folder, workspace, store)


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ((), "a release that is not signed has no statement"),
        (("--after", "canary"), "--fastest excludes --after"),
        (("--batch", "1%,100%", "--sign", __file__), "--fastest excludes --batch"),
    ],
)
def test_publish_fastest_refuses_before_anything_is_sent(
    make_variant: Callable[..., Bundle],
    bundle: Path,
    workspace: Workspace,
    store: Store,
    capfd: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    output: str,
) -> None:
    default = make_variant(bundle)
    store.put(choice("Cortex-A76, CPU", default))
    with pytest.raises(SystemExit) as caught:
        main(["publish", default.digest, "127.0.0.1:1/x:y", "--fastest", *options, "--workspace", str(workspace.root)])
    assert (caught.value.code, output in capfd.readouterr().err) == (2, True)


def test_statement_above_the_limit_of_devices_is_refused(tmp_path: Path) -> None:
    kinds = {f"{number} {'x' * 390}": {"releases": ["a" * 64], "reason": ""} for number in range(190)}
    options = StatementOptions(variants={"releases": [], "kinds": kinds})
    with pytest.raises(UsageError, match=r"the channel's statement has .* KiB, and devices read at most 64 KiB"):
        channel_documents("a" * 64, "stable", (tmp_path / "key",), options)


def test_device_refuses_a_variant_as_the_controller_does() -> None:
    """Every target, precision, processor and version of the table: a device never takes what `deploy` would refuse."""
    known = compat.known()
    machines = {machine for generation in known.generations.values() for machine in generation.accelerators}
    versions = {version for generation in known.generations.values() for version in generation.versions}
    cores = {core for row in known.unsuitable for core in row.processors}
    refused = 0
    for target, precision, machine, version, core, accelerator in itertools.product(
        [*known.targets, "unknown"],
        ["fp32", "fp16", "int8"],
        machines,
        [*versions, "2025.2.9-1", "2099.1"],
        [*cores, "Cortex-A76", "Cortex-A55 + Cortex-A76", None],
        ["CPU", "AUTO", "MYRIAD.1.2-ma2480"],
    ):
        if target != "unknown" and precision not in known.targets[target].precisions:
            continue
        device = Device(name="pi-1", host="pi-1", accelerator=accelerator)
        facts = DeviceFacts(
            device="pi-1",
            machine=machine,
            python="3.11",
            openvino=version,
            accelerators=("CPU",),
            free_bytes=1,
            current=None,
            previous=None,
            releases=(),
            details={"processor": core, "machine": machine, "openvino": version, "litert": "2.3"},
        )
        manifest = {"target": target, "precision": precision}
        described = {"release": "a" * 64, "name": "x", **variant_requirements(manifest)}
        table = parse_variants({"releases": [described], "kinds": {}})
        assert table is not None
        why = table.variants[0].why_not(dict(facts.details), accelerator)
        problems = list(incompatibilities(manifest, device, facts))
        assert bool(why) == bool(problems), (manifest, facts, accelerator)
        refused += bool(why)
    assert refused > 1000


def test_statement_of_variants_is_read_back(
    make_variant: Callable[..., Bundle], bundle: Path, other_bundle: Path, workspace: Workspace, store: Store, key: Path
) -> None:
    default, other = make_variant(bundle), make_variant(other_bundle, target="litert", precision="int8")
    store.put(choice("Cortex-A76, CPU", other, default))
    variants = collect_variants(workspace.absolute(default.path), workspace, store)
    own = str(next(iter(variants.choice["releases"]))["release"])  # type: ignore[call-overload]
    documents = channel_documents(own, "stable", (key,), StatementOptions(variants=variants.choice))
    statement = parse_statement(documents["channel.json"], "channel")
    assert statement.releases == (own, variants.trees[0].digest)
    assert statement.variants == parse_variants(variants.choice)
