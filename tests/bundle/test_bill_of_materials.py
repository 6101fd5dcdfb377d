"""Bills of materials and VEX documents of releases, by the schema of CycloneDX."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from toolkit import hashing
from toolkit.bundle.bill_of_materials import (
    VexStatement,
    bill_of_materials,
    load_statements,
    locked_packages,
    locks_folder,
    vex_document,
    write_bills,
)
from toolkit.bundle.release import release_tree, with_container_image
from toolkit.errors import ConfigurationError

from ..bundles import sealed

NUMPY = re.search(r"^numpy==(\S+)", (locks_folder() / "device.txt").read_text(), re.MULTILINE)
ABOUT_NUMPY = VexStatement(
    id="CVE-2000-0001", package="NumPy", versions="<99", state="not_affected", justification="code_not_reachable"
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "golden").mkdir(parents=True)
    names = ("model.xml", "model.bin", "labels.txt", "golden/inputs.npy", "golden/outputs.npy")
    for name in names:
        (folder / name).touch()
    files = {name: {"sha256": hashing.sha256_bytes(b""), "size_bytes": 0} for name in names}
    texts = {"name": "tiny", "precision": "fp32", "target": "cpu"}
    tables = {name: dict[str, str]() for name in ("input", "output", "golden", "lineage", "versions", "parity")}
    return sealed(folder, {"format": 1, **texts, **tables, "labels": ["a"], "files": files})


def validated(document: object) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None


@pytest.mark.parametrize("target", ["cpu", "cpu-2022", "litert", "ncs2"])
def test_bill_follows_the_schema_and_names_model_code_and_locks(bundle: Path, target: str) -> None:
    release = release_tree(bundle)
    bill = bill_of_materials(release, {"name": "tiny", "target": target}, locks_folder())
    validated(bill)
    assert bill == bill_of_materials(release, {"name": "tiny", "target": target}, locks_folder())
    kinds = [part["type"] for part in bill["components"]]
    assert (kinds.count("machine-learning-model"), kinds.count("application")) == (1, 1)
    assert bill["metadata"]["component"]["hashes"][0]["content"] == release.digest
    packages = locked_packages(bill)
    assert NUMPY
    assert (("numpy", NUMPY[1]) in packages) == (target != "ncs2")
    assert (("openvino", "2022.3.2") in packages) == (target in {"cpu-2022", "ncs2"})


def test_vex_links_to_the_components_that_it_is_about(bundle: Path) -> None:
    bill = bill_of_materials(release_tree(bundle), {"name": "tiny", "target": "cpu"}, locks_folder())
    older = ABOUT_NUMPY.model_copy(update={"versions": "<1"})
    document = vex_document(bill, (ABOUT_NUMPY, older, ABOUT_NUMPY.model_copy(update={"package": "other"})))
    validated(document)
    (entry,) = document["vulnerabilities"]
    assert entry["analysis"] == {"state": "not_affected", "justification": "code_not_reachable"}
    (part,) = (part for part in bill["components"] if part["name"] == "numpy")
    assert entry["affects"] == [{"ref": f"urn:cdx:{bill['serialNumber'][9:]}/1#{part['bom-ref']}"}]


def test_both_documents_are_written_alike_each_time(bundle: Path, tmp_path: Path) -> None:
    release = release_tree(bundle)
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        write_bills(release, bundle, folder)
    names = {f"{release.digest}.cdx.json", f"{release.digest}.vex.json"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == {
        name: (tmp_path / "two" / name).read_bytes() for name in names
    }


@pytest.mark.parametrize("name", ["toolkit-runner:", "registry.example/edge/runner@sha256:"])
def test_bill_of_a_release_in_a_container_names_the_image(bundle: Path, tmp_path: Path, name: str) -> None:
    reference = f"{name}{'ab' * 32}"
    release = with_container_image(release_tree(bundle), reference)
    write_bills(release_tree(bundle), bundle, tmp_path, container_image=reference)
    bill = json.loads((tmp_path / f"{release.digest}.cdx.json").read_text())
    validated(bill)
    (part,) = (part for part in bill["components"] if part["type"] == "container")
    assert (part["name"], part["version"]) == (name.partition("@")[0].rstrip(":"), "ab" * 6)
    assert locked_packages(bill)


def test_statements_of_the_repository_can_be_read() -> None:
    assert isinstance(load_statements(locks_folder() / "vex.toml"), tuple)


@pytest.mark.parametrize("line", ['id = "x"', 'state = "fine"', "statements = 3", "]"])
def test_statements_name_what_is_wrong(tmp_path: Path, line: str) -> None:
    path = tmp_path / "vex.toml"
    path.write_text(line if "=" not in line or line.startswith("statements") else f"[[statements]]\n{line}\n")
    with pytest.raises(ConfigurationError, match="the file cannot be used"):
        load_statements(path)
