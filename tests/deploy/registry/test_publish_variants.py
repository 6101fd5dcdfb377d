"""Several variants in one channel or archive: each device takes its own, and only the bytes of that one."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Device
from toolkit.bundle.signing import sign_bundle
from toolkit.cli.main import main
from toolkit.deploy import status
from toolkit.deploy.offline import write_archive
from toolkit.deploy.registry.device_reports import fetch_reports
from toolkit.deploy.registry.oci_registry import open_registry
from toolkit.deploy.registry.publish import publish
from toolkit.deploy.registry.release_variants import VariantSet, collect_variants
from toolkit.device.release.descriptor import read_documents
from toolkit.device.release.pull import TITLE
from toolkit.device.runtime.accelerators import name_kind
from toolkit.device.runtime.variant import probe_facts
from toolkit.hashing import canonical_json
from toolkit.store import Store
from toolkit.workspace import Workspace

from .test_publish import Pull, Server, program, pull, server, serves
from .test_release_variants import choice, make_variant, store

pytestmark = pytest.mark.registry
__all__ = ["make_variant", "program", "pull", "server", "store"]


@pytest.fixture(scope="module")
def kind(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The kind of this machine, as a device with a CPU."""
    facts = probe_facts(sys.executable, tmp_path_factory.mktemp("root"))
    return name_kind(str(facts["processor"] or facts["machine"]), "CPU")


@pytest.fixture
def bundles(
    make_variant: Callable[..., Bundle], make_bundle: Callable[..., Path], bundle: Path, key: Path, workspace: Workspace
) -> tuple[Bundle, ...]:
    """The default and two variants of one model, the last of which runs nowhere but on LiteRT."""
    large = make_bundle("large", bias=0.5, padding_bytes=3_000_000)
    made = (make_variant(bundle), make_variant(large), make_variant(large, name="lite", target="litert"))
    for each in made:
        sign_bundle(workspace.absolute(each.path), key)
    return made


@pytest.fixture
def variants(bundles: tuple[Bundle, ...], kind: str, workspace: Workspace, store: Store) -> VariantSet:
    """The second one is the fastest on this machine's kind, the third on another one."""
    store.put(choice(kind, bundles[1], bundles[0]))
    store.put(choice("Cortex-A76, CPU", bundles[2], bundles[0]))
    return collect_variants(workspace.absolute(bundles[0].path), workspace, store)


@pytest.fixture
def folder(bundles: tuple[Bundle, ...], workspace: Workspace) -> Path:
    return workspace.absolute(bundles[0].path)


def test_device_takes_its_variant_and_only_its_bytes(
    server: Server,
    pull: Pull,
    bundles: tuple[Bundle, ...],
    variants: VariantSet,
    folder: Path,
    key: Path,
    kind: str,
    tmp_path: Path,
) -> None:
    result = publish(folder, server.channel, key=key, variants=variants)
    assert (result.changed, result.kinds) == (True, {kind: "large", "Cortex-A76, CPU": "lite"})
    assert not publish(folder, server.channel, key=key, variants=variants).changed
    code, output = pull()
    why = f"{kind}: p90 1.00 ms, against 2.00 ms"
    assert (code, output["outcome"], output["variant"]) == (0, "deployed", {"name": "large", "why": why})
    assert serves(tmp_path / "devices/one") == bundles[1].digest
    assert pull()[1]["outcome"] == "unchanged"
    code, output = pull("auto", "--accelerator", "AUTO")
    assert (code, output["variant"]["name"]) == (0, "tiny")
    assert output["variant"]["why"].startswith("no variant was measured on ")
    assert serves(tmp_path / "devices/auto") == bundles[0].digest
    stored = [path.stat().st_size for path in (tmp_path / "devices/auto/store").iterdir()]
    assert sum(stored) < 3_000_000, "the large variant's bytes are not fetched"
    reports = {each.device: each for each in fetch_reports(server.channel)}
    assert {name: each.as_published for name, each in reports.items()} == {"one": True, "auto": True}
    assert (reports["one"].variant, reports["one"].variant_reason) == ("large", why)


def test_requests_of_a_pull_are_for_one_variant_alone(
    server: Server, pull: Pull, variants: VariantSet, folder: Path, key: Path, tmp_path: Path
) -> None:
    """A device whose variant is whole in the registry does not notice that every other blob is missing."""
    publish(folder, server.channel, key=key, variants=variants)
    with open_registry(server.channel) as registry:
        _, manifest = registry.tagged("stable")
    documents = {layer["annotations"].get(TITLE): layer for layer in manifest["layers"]}
    own, other = (tree.digest for tree in variants.trees)
    assert {
        f"{digest}/{name}" for digest in (own, other) for name in ("layout.json", "release.json", "release.json.sig")
    } < {*documents}
    for name in (
        "release.json",
        "layout.json",
        f"{other}/layout.json",
        f"{other}/release.json",
        f"{other}/release.json.sig",
    ):
        digest = documents[name]["digest"].partition(":")[2]
        (tmp_path / "data/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data").unlink()
    code, output = pull()
    assert (code, output["variant"]["name"]) == (0, "large")
    code, output = pull("auto", "--accelerator", "AUTO")
    assert (code, output["error"]["what"]) == (1, "does not exist")


def test_what_a_device_cannot_run_is_refused_and_reported(
    server: Server,
    pull: Pull,
    bundles: tuple[Bundle, ...],
    variants: VariantSet,
    folder: Path,
    key: Path,
    tmp_path: Path,
) -> None:
    publish(folder, server.channel, key=key, variants=variants)
    for _ in range(2):
        code, output = pull("stick", "--accelerator", "MYRIAD")
        assert code == 1
        assert "cannot run tiny (it is not made for MYRIAD)" in str(output)
        assert not (tmp_path / "devices/stick/store").exists()
    (report,) = fetch_reports(server.channel)
    assert (report.outcome, "it is not made for MYRIAD" in report.reason) == ("refused", True)
    assert pull("stick")[1]["outcome"] == "deployed", "it is asked again when the choice is another one"


def test_signature_covers_the_choice(
    server: Server, pull: Pull, variants: VariantSet, folder: Path, key: Path, tmp_path: Path
) -> None:
    root = tmp_path / "devices/one"
    root.mkdir(parents=True)
    (root / "allowed_signers").write_text(f"ci@example.org {key.with_suffix('.pub').read_text()}")
    publish(folder, server.channel, key=key, variants=variants)

    def pull_changed(change: Callable[[dict[str, Any]], object]) -> tuple[int, str]:
        with open_registry(server.channel) as registry:
            _, original = registry.tagged("stable")
            manifest = json.loads(json.dumps(original))
            layers = {layer["annotations"].get(TITLE): layer for layer in manifest["layers"]}
            statement = json.loads(registry.blob(layers["channel.json"]["digest"]))
            change(statement)
            layers["channel.json"].update(registry.put_blob(canonical_json(statement)))
            registry.put_manifest("stable", manifest)
            code, output = pull()
            registry.put_manifest("stable", original)
        return code, str(output)

    def slowest_first(statement: dict[str, Any]) -> None:
        for row in statement["variants"]["kinds"].values():
            row["releases"].reverse()

    def without(statement: dict[str, Any]) -> None:
        del statement["variants"]

    for change in (slowest_first, without):
        code, text = pull_changed(change)
        assert (code, "signature" in text) == (1, True), text
    assert not (root / "store").exists()
    code, output = pull()
    assert (code, output["variant"]["name"]) == (0, "large")
    assert "stated by ci@example.org" in output["signature"]


def test_install_takes_the_variant_of_the_device(
    devices: tuple[Device, ...],
    variants: VariantSet,
    bundles: tuple[Bundle, ...],
    folder: Path,
    key: Path,
    kind: str,
    tmp_path: Path,
) -> None:
    file = tmp_path / "release.tar"
    written = write_archive(folder, file, key, variants=variants)
    assert written.kinds == {kind: "large", "Cortex-A76, CPU": "lite"}
    assert {*read_documents(file, f"{variants.trees[0].digest}/")} == {
        "layout.json",
        "release.json",
        "release.json.sig",
    }
    command = [sys.executable, "-B", "-m", "toolkit.device", "install", str(file), "--root", devices[0].root]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(toolkit.__file__).parents[1])
    output = json.loads(done.stdout)
    assert (done.returncode, output["bundle"], output["variant"]["name"]) == (0, bundles[1].digest, "large")
    served = status(devices[:1]).ok[devices[0]]
    assert (served.bundle, served.variant_reason) == (bundles[1].digest, output["variant"]["why"])


def test_publish_and_status_verbs_name_the_variants(
    server: Server,
    pull: Pull,
    variants: VariantSet,
    folder: Path,
    key: Path,
    kind: str,
    workspace: Workspace,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def run(*argv: object) -> str:
        with pytest.raises(SystemExit) as caught:
            main([str(each) for each in (*argv, "--workspace", workspace.root)])
        assert caught.value.code == 0
        return capfd.readouterr().out

    assert f"  {kind}: large" in run("publish", folder, server.channel, "--fastest", "--sign", key)
    pull()
    assert "large: " in run("status", "--channel", server.channel)
    (report,) = json.loads(run("status", "--channel", server.channel, "--json"))["devices"]
    assert (report["variant"], report["variant_reason"].startswith(kind)) == ("large", True)
    archive = json.loads(run("deploy", folder, "--offline", tmp_path / "x.tar", "--fastest", "--sign", key, "--json"))
    assert archive["kinds"][kind] == "large"
    assert dataclasses.asdict(variants)["kinds"] == archive["kinds"]
